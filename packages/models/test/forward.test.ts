import { readFileSync } from 'node:fs';
import type { Backend } from '@peftjs/core';
import { f32, type Tensor } from '@peftjs/core/tensor';
import { onnxruntime } from '@peftjs/onnxruntime';
import { expectClose, goldensPath, referenceBackend, sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { openCase } from '../../../scripts/goldens/case.js';
import { run } from '../../../scripts/goldens/kinds/base-forward.js';

import { causalLm, embedding, loadModel, type Model, sequenceClassification } from '../src/index.js';
import { tinyConfigs, tinyWeights, writeTinyModel } from './tiny-model.js';

const small = ['tiny-llama', 'tiny-qwen2', 'tiny-gpt2', 'tiny-bert', 'tiny-vit'];
const runs: [string, () => Backend, string[]][] = [
  ['onnxruntime', () => onnxruntime(), [...small, 'stories260k']],
  ['the reference backend', () => referenceBackend(), small],
];

const methods = goldensPath('methods');

describe.each(runs)('base models on %s', (_, make, names) => {
  it.skipIf(!methods).each(names)('%s answers as transformers does', async (name) => {
    const backend = make();
    await run(await openCase(methods!, `${methods}/cases/base-forward-${name}`), { backend });
    await backend.dispose();
  });
});

const smollm = process.env.PEFTJS_SMOLLM2;
const smollmReference = sharedPath('reference', 'smollm2.json');
const minilm = sharedPath('models', 'all-MiniLM-L6-v2');
const minilmReference = sharedPath('reference', 'all-MiniLM-L6-v2.json');

interface Embeddings {
  sentences: string[];
  embedding: number[][];
}

interface Continuations {
  cases: { prompt: string; last_logits_top5: { ids: number[]; values: number[] } }[];
}

describe('published models', () => {
  it.skipIf(!minilm || !minilmReference)('all-MiniLM-L6-v2 embeds as sentence-transformers does', async () => {
    const { sentences, embedding: expected } = JSON.parse(readFileSync(minilmReference!, 'utf8')) as Embeddings;
    const backend = onnxruntime();
    const model = await loadModel(minilm!, { task: embedding() });
    const program = await backend.compile(model.graph('predict').graph);
    const batch = model.task.batch(
      sentences.map((text, i) => model.task.encode({ text }, i)),
      [...sentences.keys()],
    );
    const { embeddings } = await program.run(batch.feeds);
    const width = embeddings!.shape[1]!;
    const { sample } = batch.rows['batch*reads']!;
    for (const [i, vector] of expected.entries()) {
      const from = sample.indexOf(i) * width;
      const got = f32([width], (embeddings!.data as Float32Array).subarray(from, from + width));
      expectClose(sentences[i]!, got, f32([width], vector), { absolute: 1e-5 });
    }
    await backend.dispose();
  });

  it.skipIf(!smollm || !smollmReference)('SmolLM2 gives the reference logits (PEFTJS_SMOLLM2)', async () => {
    const { cases } = JSON.parse(readFileSync(smollmReference!, 'utf8')) as Continuations;
    const backend = onnxruntime();
    const model = await loadModel(smollm!, { task: causalLm() });
    const program = await backend.compile(model.graph('predict').graph);
    const examples = cases.map(({ prompt }) => {
      const { ids } = model.tokenizer!.encode(prompt);
      return { length: ids.length, ids, from: ids.length };
    });
    const batch = model.task.batch(examples, [...examples.keys()], { labels: false });
    const { logits } = await program.run(batch.feeds);
    const { sample } = batch.rows['batch*reads']!;
    for (const [i, { prompt, last_logits_top5: top }] of cases.entries()) {
      const from = sample.indexOf(i) * logits!.shape[1]!;
      const got = f32(
        [5],
        top.ids.map((id) => Number(logits!.data[from + id])),
      );
      expectClose(prompt, got, f32([5], top.values), { absolute: 1e-3 }); // 30 layers of f32 sums in another order
    }
    await backend.dispose();
  });
});

/** Rows of an output that hold each sample's reads, in the order of samples and tokens. */
function bySample(output: Tensor, rows: { sample: Int32Array; token: Int32Array }): Tensor {
  const width = output.shape[1]!;
  const order = [...rows.sample.keys()]
    .filter((row) => rows.sample[row]! >= 0)
    .sort((a, b) => rows.sample[a]! - rows.sample[b]! || rows.token[a]! - rows.token[b]!);
  const data = Float32Array.from(
    order.flatMap((row) => Array.from(output.data.subarray(row * width, (row + 1) * width), Number)),
  );
  return f32([order.length, width], data);
}

const ids = (length: number, from: number) => Array.from({ length }, (_, i) => 3 + ((from + i * 5) % 37));
const lengths = [9, 3, 5, 2, 7, 4];

async function outputsOf(model: Model, form: 'predict' | 'train', feeds: Record<string, Tensor>) {
  const backend = referenceBackend();
  const program = await backend.compile(model.graph(form).graph);
  return program.run(feeds);
}

describe('layouts', () => {
  it('a batch in bins gives the numbers of the padded batch: encoder', async () => {
    const directory = await writeTinyModel(tinyConfigs.bert, tinyWeights(tinyConfigs.bert, 'sequence-classification'));
    const examples = lengths.map((n, i) => ({
      length: n,
      ids: ids(n, i),
      typeIds: ids(n, 0).map(() => 0),
      label: i % 3,
    }));
    const results: Tensor[] = [];
    for (const layout of ['bins', 'padded'] as const) {
      const model = await loadModel(directory, { task: sequenceClassification({ labels: ['a', 'b', 'c'], layout }) });
      const batch = model.task.batch(examples, [...examples.keys()]);
      if (layout === 'bins') expect(batch.feeds.input_ids!.shape[0]).toBeLessThan(lengths.length);
      const weight = f32([], [1 / batch.labels]);
      const { logits, loss } = await outputsOf(model, 'train', { ...batch.feeds, loss_weight: weight });
      results.push(bySample(logits!, batch.rows['batch*reads']!), loss!);
    }
    expectClose('logits', results[0]!, results[2]!, { relToMax: 1e-6 });
    expectClose('loss', results[1]!, results[3]!, { relToMax: 1e-6 });
  });

  it('a batch in bins gives the numbers of the padded batch: decoder', async () => {
    const directory = await writeTinyModel(tinyConfigs.llama, tinyWeights(tinyConfigs.llama, 'causal-lm'));
    const examples = lengths.map((n, i) => ({ length: n, ids: ids(n, i), from: 1 }));
    const results: Tensor[] = [];
    for (const layout of ['bins', 'padded'] as const) {
      const model = await loadModel(directory, { task: causalLm({ layout }) });
      const batch = model.task.batch(examples, [...examples.keys()]);
      const { logits, loss } = await outputsOf(model, 'train', {
        ...batch.feeds,
        loss_weight: f32([], [1 / batch.labels]),
      });
      results.push(bySample(logits!, batch.rows['batch*reads']!), loss!);
    }
    expectClose('logits', results[0]!, results[2]!, { relToMax: 1e-6 });
    expectClose('loss', results[1]!, results[3]!, { relToMax: 1e-6 });
  });

  it('pools every sequence of a bin by itself', async () => {
    const directory = await writeTinyModel(tinyConfigs.bert, tinyWeights(tinyConfigs.bert, 'embedding'));
    for (const pooling of ['mean', 'cls'] as const) {
      const results: Tensor[] = [];
      for (const layout of ['bins', 'padded'] as const) {
        const model = await loadModel(directory, { task: embedding({ layout, pooling }) });
        const examples = lengths.map((n, i) => ({ length: n, ids: ids(n, i), typeIds: ids(n, 0).map(() => 0) }));
        const batch = model.task.batch(examples, [...examples.keys()]);
        const { embeddings } = await outputsOf(model, 'predict', batch.feeds);
        results.push(bySample(embeddings!, batch.rows['batch*reads']!));
      }
      expectClose(pooling, results[0]!, results[1]!, { relToMax: 1e-6 });
      const norms = Array.from({ length: lengths.length }, (_, i) =>
        Math.hypot(...(results[0]!.data as Float32Array).subarray(16 * i, 16 * i + 16)),
      );
      for (const norm of norms) expect(norm).toBeCloseTo(1, 6); // vectors are f32
    }
  });
});

describe('forms', () => {
  it('reading some rows gives their part of all rows', async () => {
    const directory = await writeTinyModel(tinyConfigs.llama, tinyWeights(tinyConfigs.llama, 'causal-lm'));
    const model = await loadModel(directory, { task: causalLm() });
    const batch = model.task.batch(
      lengths.map((n, i) => ({ length: n, ids: ids(n, i), from: 2 })),
      [...lengths.keys()],
    );
    const all = await referenceBackend().compile(model.graph('predict', { read: false, hiddenStates: true }).graph);
    const whole = await all.run(batch.feeds);
    expect(Object.keys(whole)).toEqual(['logits', 'hidden_states.0', 'hidden_states.1', 'hidden_states.2']);
    const { logits } = await outputsOf(model, 'predict', batch.feeds);
    const pick = Array.from(batch.feeds.read!.data, Number);
    const data = Float32Array.from(
      pick.flatMap((row) => Array.from((whole.logits!.data as Float32Array).subarray(40 * row, 40 * row + 40))),
    );
    expectClose('read rows', logits!, f32([pick.length, 40], data), { relToMax: 1e-6 });
  });

  it('`evaluate` gives what the loss is made of', async () => {
    const directory = await writeTinyModel(tinyConfigs.llama, tinyWeights(tinyConfigs.llama, 'causal-lm'));
    const model = await loadModel(directory, { task: causalLm() });
    const batch = model.task.batch(
      lengths.map((n, i) => ({ length: n, ids: ids(n, i), from: 2 })),
      [...lengths.keys()],
    );
    const backend = referenceBackend();
    const outputs = await (await backend.compile(model.graph('evaluate').graph)).run(batch.feeds);
    expect(Object.keys(outputs)).toEqual(['nll', 'predicted']);
    const trained = await outputsOf(model, 'train', { ...batch.feeds, loss_weight: f32([], [1 / batch.labels]) });
    const [short, long] = [model.task.metrics(), model.task.metrics()];
    short.add(outputs, batch);
    long.add(trained, batch);
    expect(short.result().loss).toBeCloseTo(Number(trained.loss!.data[0]), 6); // f32 outputs
    expect(long.result().loss).toBeCloseTo(Number(trained.loss!.data[0]), 6);
    expect(short.result().tokenAccuracy).toBe(long.result().tokenAccuracy);
  });

  it('refuses what a task has not', async () => {
    const directory = await writeTinyModel(tinyConfigs.bert, tinyWeights(tinyConfigs.bert, 'features'));
    const model = await loadModel(directory, { task: embedding() });
    expect(() => model.graph('train')).toThrow(/no loss/);
    expect(() => model.graph('decode')).toThrow(/does not decode/);
    await expect(loadModel(directory, { task: causalLm() })).rejects.toThrow(
      /no head "causal-lm".*sequence-classification/,
    );
  });
});
