import { isPeftError, type Task } from '@peftjs/core';
import { f32, type Tensor } from '@peftjs/core/tensor';
import { describe, expect, it } from 'vitest';
import { findArchitecture } from '../src/architectures/index.js';
import { modelConfig } from '../src/config.js';
import { causalLm, createTokenizer, type ModelPieces, sequenceClassification, type TaskFactory } from '../src/index.js';
import { tinyConfigs } from './tiny-model.js';
import { toyTokenizer } from './toy-tokenizer.js';

const piecesOf = (config: { model_type: string }, tokenizer: unknown = toyTokenizer): ModelPieces => ({
  files: 'tiny',
  directory: 'tiny',
  config: modelConfig(config),
  architecture: findArchitecture(config.model_type),
  tokenizer: tokenizer ? createTokenizer(tokenizer as Record<string, unknown>) : undefined,
  tensors: new Map(),
});
const bert = piecesOf(tinyConfigs.bert);
const llama = piecesOf(tinyConfigs.llama, { ...toyTokenizer, post_processor: null });

const codeOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (isPeftError(error)) return `${error.code} ${error.message}`;
    throw error;
  }
  return 'nothing';
};
const numbers = (tensor: Tensor | undefined) => Array.from(tensor!.data, Number);
const bind = async <E extends { length: number }>(factory: TaskFactory<E>, pieces: ModelPieces) => factory(pieces);

describe('sequence classification', () => {
  const labels = ['bad', 'good'];

  it('encodes texts and pairs, and labels by name or by number', async () => {
    const task = await bind(sequenceClassification({ labels, maxLength: 6 }), bert);
    expect(task.encode({ text: 'a fine film', label: 'good' }, 0)).toMatchObject({ ids: [2, 4, 5, 6, 3], label: 1 });
    expect(task.encode({ text: 'a fine film of words', label: '0' }, 0)).toMatchObject({ length: 6, label: 0 });
    const pair = task.encode({ text_a: 'fine', text_b: 'bad' }, 0);
    expect(pair).toEqual({ length: 5, ids: [2, 5, 3, 11, 3], typeIds: [0, 0, 0, 1, 1] });
  });

  it('names the row and what is wrong with it', async () => {
    const task = await bind(sequenceClassification({ labels }), bert);
    expect(codeOf(() => task.encode({ sentence: 'x' }, 7))).toMatch(/DATA_INVALID Row 7 needs `text`.*sentence/);
    expect(codeOf(() => task.encode({ text: 'x', label: '2' }, 7))).toMatch(/DATA_INVALID Row 7.*"2".*bad, good/);
    const unlabelled = task.encode({ text: 'a' }, 0);
    expect(codeOf(() => task.batch([unlabelled], [7]))).toMatch(/DATA_INVALID Row 7.*label/);
    expect(task.batch([unlabelled], [7], { labels: false }).labels).toBe(0);
  });

  it('reads the first token of an encoder and the last of a decoder', async () => {
    for (const [pieces, at] of [
      [bert, 0],
      [llama, 2],
    ] as const) {
      const task = await bind(sequenceClassification({ labels, layout: 'padded' }), pieces);
      const example = { length: 3, ids: [4, 5, 6], label: 1 };
      expect(numbers(task.batch([example], [0]).feeds.read)).toEqual([at]);
    }
  });

  it('says what a missing tokenizer prevents', async () => {
    const task = await bind(sequenceClassification({ labels }), piecesOf(tinyConfigs.bert, null));
    expect(codeOf(() => task.encode({ text: 'a' }, 0))).toMatch(/FILE_MISSING.*tokenizer\.json/);
  });

  it('counts accuracy, loss and the mean F1 over padded slots and layouts', async () => {
    const task = await bind(sequenceClassification({ labels: ['a', 'b', 'c'] }), bert);
    const of = (n: number, label: number) => ({ length: n, ids: Array.from({ length: n }, () => 4), label });
    const batch = task.batch([of(9, 0), of(4, 1), of(5, 2)], [0, 1, 2]);
    const rowsOf = (sample: number) => batch.rows['batch*reads']!.sample.indexOf(sample);
    const logits = new Float32Array(3 * batch.rows['batch*reads']!.sample.length).fill(9);
    logits.set([2, 0, 0], 3 * rowsOf(0)); // right
    logits.set([0, 1, 0], 3 * rowsOf(1)); // right
    logits.set([0, 3, 0], 3 * rowsOf(2)); // said 1, was 2
    const metrics = task.metrics();
    metrics.add({ logits: f32([logits.length / 3, 3], logits) }, batch);
    const { accuracy, loss, f1 } = metrics.result();
    const nll = (x: number[], label: number) => Math.log(x.reduce((s, v) => s + Math.exp(v), 0)) - x[label]!;
    expect(accuracy).toBeCloseTo(2 / 3, 12);
    expect(loss).toBeCloseTo((nll([2, 0, 0], 0) + nll([0, 1, 0], 1) + nll([0, 3, 0], 2)) / 3, 6); // logits are f32
    expect(f1).toBeCloseTo((1 + 2 / 3 + 0) / 3, 12);
  });
});

describe('causal language modelling', () => {
  const encode = async (row: Record<string, string>, maxLength?: number, pieces = llama) => {
    const task = await bind(causalLm({ ...(maxLength && { maxLength }), layout: 'padded' }), pieces);
    return { task, example: task.encode(row, 3) };
  };
  const feeds = <E extends { length: number }>(task: Task<E>, example: E) => {
    const batch = task.batch([example], [0]);
    return { read: numbers(batch.feeds.read), labels: numbers(batch.feeds.labels), count: batch.labels };
  };

  it('learns the completion and the end token after a prompt', async () => {
    const { task, example } = await encode({ prompt: 'a fine', completion: 'film .' });
    expect(example).toEqual({ length: 5, ids: [4, 5, 6, 12, 2], from: 2 });
    expect(feeds(task, example)).toEqual({ read: [1, 2, 3], labels: [6, 12, 2], count: 3 });
  });

  it('learns every token of a text that something precedes', async () => {
    const { task, example } = await encode({ text: 'a fine film' });
    expect(feeds(task, example)).toEqual({ read: [0, 1, 2], labels: [5, 6, 2], count: 3 });
  });

  it('puts the start tokens of the tokenizer first, and none between the parts', async () => {
    const start = { ...toyTokenizer.post_processor, single: toyTokenizer.post_processor.single.slice(0, 2) };
    const pieces = piecesOf(tinyConfigs.llama, { ...toyTokenizer, post_processor: start });
    const { task, example } = await encode({ prompt: 'a', completion: 'film' }, undefined, pieces);
    expect(example).toEqual({ length: 4, ids: [2, 4, 6, 2], from: 2 });
    expect(feeds(task, example)).toEqual({ read: [1, 2], labels: [6, 2], count: 2 });
  });

  it('cuts at the end and refuses what is left without a label', async () => {
    const { example } = await encode({ prompt: 'a fine', completion: 'film of words' }, 4);
    expect(example).toEqual({ length: 4, ids: [4, 5, 6, 7], from: 2 });
    const { task } = await encode({ text: 'a film' }, 2);
    expect(codeOf(() => task.encode({ prompt: 'a fine', completion: 'film' }, 3))).toMatch(
      /DATA_INVALID Row 3.*prompt takes 2/,
    );
    expect(codeOf(() => task.encode({ label: 'x' }, 3))).toMatch(/DATA_INVALID Row 3 needs `text`/);
  });

  it('reads the last token of a prompt when there are no labels', async () => {
    const { task, example } = await encode({ prompt: 'a fine film' });
    const batch = task.batch([example], [0], { labels: false });
    expect(numbers(batch.feeds.read)).toEqual([2]);
    expect(batch.feeds.labels).toBeUndefined();
  });

  it('counts the same from logits and from what the form `evaluate` gives', async () => {
    const { task, example } = await encode({ text: 'a fine film' });
    const batch = task.batch([example], [0]);
    const logits = f32(
      [3, 13],
      Array.from({ length: 39 }, (_, i) => Math.sin(i * i)),
    );
    const row = (r: number) => Array.from(logits.data.subarray(13 * r, 13 * r + 13));
    const nll = [5, 6, 2].map((label, r) => Math.log(row(r).reduce((s, x) => s + Math.exp(x), 0)) - row(r)[label]!);
    const predicted = [0, 1, 2].map((r) => row(r).indexOf(Math.max(...row(r))));
    const one = task.metrics();
    one.add({ logits }, batch);
    const other = task.metrics();
    const ids: Tensor = { dtype: 'i64', shape: [3], data: BigInt64Array.from(predicted, BigInt) };
    other.add({ nll: f32([3], nll), predicted: ids }, batch);
    const [a, b] = [one.result(), other.result()];
    expect(a.loss).toBeCloseTo(b.loss!, 6); // nll is rounded to f32
    expect(a.tokenAccuracy).toBe(b.tokenAccuracy);
    expect(a.perplexity).toBeCloseTo(Math.exp(a.loss!), 12);
  });
});
