import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Backend } from '@peftjs/core';
import { createRandom, f32, type Tensor } from '@peftjs/core/tensor';
import { onnxruntime } from '@peftjs/onnxruntime';
import { expectClose, goldensPath, referenceBackend, sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { openCase } from '../../../scripts/goldens/case.js';

import {
  type Completion,
  causalLm,
  createKvCache,
  createSampler,
  type Decoder,
  generate,
  loadModel,
  openDecoder,
  type TokenEvent,
} from '../src/index.js';
import { tinyConfigs, tinyWeights, writeTinyModel } from './tiny-model.js';

const shape = { layers: 2, kvHeads: 2, headDim: 3 };

/** `present.*` outputs whose numbers tell layer, row, head, token and channel. */
function present(rows: number, tokens: number, base: number): Record<string, Tensor> {
  const outputs: Record<string, Tensor> = {};
  for (let layer = 0; layer < shape.layers; layer++)
    for (const [p, part] of ['key', 'value'].entries()) {
      const dims = [rows, shape.kvHeads, tokens, shape.headDim];
      const data = Float32Array.from(
        { length: dims.reduce((a, b) => a * b) },
        (_, i) => base + i + 1e3 * (2 * layer + p),
      );
      outputs[`present.${layer}.${part}`] = f32(dims, data);
    }
  return outputs;
}

/** Numbers of one head of a row, as far as they are cached. */
function cached(cache: ReturnType<typeof createKvCache>, row: number, head: number): number[] {
  const { data, shape: dims } = cache.feeds()['past_key_values.1.value']!;
  const [, heads, capacity, width] = dims as [number, number, number, number];
  const at = (row * heads + head) * capacity * width;
  return Array.from((data as Float32Array).subarray(at, at + cache.length(row) * width));
}

describe('key/value cache', () => {
  it('appends behind each row, leaving out padding, and grows without loss', () => {
    const cache = createKvCache(shape, { rows: 1, capacity: 1 });
    expect([cache.admit(), cache.admit()]).toEqual([0, 1]);
    cache.append(present(2, 3, 0), 0, [
      [0, 3],
      [1, 2],
    ]);
    expect([cache.length(0), cache.length(1)]).toEqual([3, 1]);
    expect(cached(cache, 0, 1)).toEqual([9, 10, 11, 12, 13, 14, 15, 16, 17].map((x) => x + 3000));
    expect(cached(cache, 1, 0)).toEqual([21, 22, 23].map((x) => x + 3000));
    cache.append(present(1, 1, 100), 1, [[0, 1]]);
    expect(cached(cache, 1, 0)).toEqual([3021, 3022, 3023, 3100, 3101, 3102]);
    const mask = cache.feeds().past_mask!;
    expect(mask.shape).toEqual([2, cache.capacity]);
    const inUse = (row: number) =>
      Array.from(mask.data.subarray(row * cache.capacity, (row + 1) * cache.capacity), Number).filter((m) => m === 1);
    expect([inUse(0).length, inUse(1).length]).toEqual([3, 2]);
  });

  it('gives views of the rows in use', () => {
    const cache = createKvCache(shape, { rows: 4, capacity: 8 });
    for (let i = 0; i < 3; i++) cache.admit();
    const one = cache.feeds(1, 2)['past_key_values.0.key']!;
    expect(one.shape).toEqual([1, 2, 8, 3]);
    expect(one.data.buffer).toBe(cache.feeds()['past_key_values.0.key']!.data.buffer);
  });

  it('moves the last row into a row that ends, and clears the mask behind', () => {
    const cache = createKvCache(shape, { capacity: 4 });
    for (let i = 0; i < 3; i++) cache.admit();
    cache.append(present(3, 2, 0), 0, [[0, 1], [0, 2], [0, 2]]); // biome-ignore format: one line
    const last = cached(cache, 2, 1);
    expect(cache.release(0)).toBe(2);
    expect([cache.rows, cache.length(0), cache.length(1)]).toEqual([2, 2, 2]);
    expect(cached(cache, 0, 1)).toEqual(last);
    expect(cache.release(1)).toBeUndefined();
    cache.admit();
    expect(cache.length(1)).toBe(0);
    expect([...cache.feeds(1, 2).past_mask!.data].map(Number)).toEqual([0, 0, 0, 0]);
    expect(() => cache.release(5)).toThrow(/no row 5/);
  });
});

describe('sampling', () => {
  const logits = Float32Array.of(0, 3, 1, 2, -5);
  const draws = (options: Parameters<typeof createSampler>[0], count = 4000) => {
    const sampler = createSampler(options, 0);
    return Array.from({ length: count }, () => sampler(logits));
  };

  it('takes the likeliest token at temperature 0, the first of equals', () => {
    expect(draws({}, 3)).toEqual([1, 1, 1]);
    expect(createSampler({}, 0)(Float32Array.of(1, 2, 2))).toBe(1);
  });

  it('draws tokens as often as their probabilities say', () => {
    const sum = logits.reduce((s, x) => s + Math.exp(x / 2), 0);
    const drawn = draws({ temperature: 2, seed: 5 });
    for (const [id, x] of logits.entries()) {
      const p = Math.exp(x / 2) / sum;
      const share = drawn.filter((d) => d === id).length / drawn.length;
      expect(Math.abs(share - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / drawn.length)); // four standard errors
    }
  });

  it('keeps to the k likeliest, and to the fewest that reach p', () => {
    expect(new Set(draws({ temperature: 5, topK: 2 }))).toEqual(new Set([1, 3]));
    // softmax: 0.64, 0.24, 0.09, 0.03, 0.0002
    expect(new Set(draws({ temperature: 1, topP: 0.6 }))).toEqual(new Set([1]));
    expect(new Set(draws({ temperature: 1, topP: 0.7 }))).toEqual(new Set([1, 3]));
  });

  it('repeats with its seed and differs between streams', () => {
    expect(draws({ temperature: 1, seed: 3 }, 50)).toEqual(draws({ temperature: 1, seed: 3 }, 50));
    const other = createSampler({ temperature: 1, seed: 3 }, 1);
    expect(Array.from({ length: 50 }, () => other(logits))).not.toEqual(draws({ temperature: 1, seed: 3 }, 50));
  });
});

async function tinyDecoder(backend: Backend) {
  const directory = await writeTinyModel(tinyConfigs.llama, tinyWeights(tinyConfigs.llama, 'causal-lm'));
  const model = await loadModel(directory, { task: causalLm({ layout: 'padded' }) });
  return { model, decoder: await openDecoder(model, { backend }) };
}

const prompts = [[4, 5, 6, 7, 8], [9], [10, 11, 12]];

async function ran(decoder: Decoder, options: Partial<Parameters<typeof generate>[1]>): Promise<Completion[]> {
  return generate(decoder, { prompts, maxNewTokens: 9, stopIds: [], ...options }).result();
}

describe('decoding', () => {
  it('gives the logits of the full sequence, whatever was cached before', async () => {
    const backend = referenceBackend();
    const { model, decoder } = await tinyDecoder(backend);
    const full = await backend.compile(model.graph('predict').graph);
    const ids = Array.from(createRandom(1).bits(12), (word) => 3 + (word % 37));
    const { feeds } = model.task.batch([{ length: 12, ids, from: 0 }], [0], { labels: false });
    const { logits } = await full.run(feeds);
    for (const cut of [1, 5, 11]) {
      const cache = decoder.createCache({ capacity: 2 });
      cache.admit();
      await decoder.step(cache, [ids.slice(0, cut)]);
      let last: Tensor | undefined;
      for (const id of ids.slice(cut)) last = await decoder.step(cache, [[id]]);
      expectClose(`cut at ${cut}`, last!, logits!, { relToMax: 1e-6 });
    }
  });

  it('continues each prompt as it would alone, when others end before it', async () => {
    const { decoder } = await tinyDecoder(referenceBackend());
    const together = await ran(decoder, {});
    const stops = together.map(({ ids }) => ids[3]!);
    for (const options of [{}, { temperature: 1.5, seed: 4 }, { stopIds: stops.slice(0, 1) }]) {
      const all = await ran(decoder, options);
      expect(all.map(({ ids }) => ids.length).every((n) => n > 0 && n <= 9)).toBe(true);
      if ('temperature' in options) continue; // the stream of a prompt is its number
      const alone = await Promise.all(prompts.map((prompt) => ran(decoder, { ...options, prompts: [prompt] })));
      expect(all).toEqual(alone.flat());
    }
    const stopped = (await ran(decoder, { stopIds: stops.slice(0, 1) }))[0]!;
    expect(stopped).toMatchObject({
      reason: 'stop',
      ids: together[0]!.ids.slice(0, together[0]!.ids.indexOf(stops[0]!) + 1),
    });
  });

  it('admits rows while others are under way', async () => {
    const { decoder } = await tinyDecoder(referenceBackend());
    const cache = decoder.createCache({ capacity: 2 });
    cache.admit();
    await decoder.step(cache, [[4, 5, 6]]);
    cache.admit();
    await decoder.step(cache, [[9, 10]], 1); // prefill of the new row alone
    const both = await decoder.step(cache, [[7], [11]]);
    const apart = decoder.createCache();
    apart.admit();
    const alone = await decoder.step(apart, [[9, 10, 11]]);
    const second: Tensor = { dtype: 'f32', shape: [1, 40], data: (both.data as Float32Array).slice(40, 80) };
    expectClose('the row that joined', second, alone, { relToMax: 1e-6 });
  });

  it('sends an event a token and ends when it is left', async () => {
    const { decoder } = await tinyDecoder(referenceBackend());
    const run = generate(decoder, { prompts: [[4]], maxNewTokens: 5, stopIds: [] });
    const events: TokenEvent[] = [];
    for await (const event of run) events.push(event);
    const [completion] = await run.result();
    expect(events.map(({ id }) => id)).toEqual(completion!.ids);
    expect(completion).toMatchObject({ reason: 'length', text: '' });
    expect(await ran(decoder, { maxNewTokens: 0 })).toEqual(
      prompts.map(() => ({ ids: [], text: '', reason: 'length' })),
    );
    expect(() => generate(decoder, { prompts: [[4], []], maxNewTokens: 1 })).toThrow(/Prompt 1 has no token/);
  });

  it('refuses a model that does not decode', async () => {
    const model = await loadModel(
      await writeTinyModel(tinyConfigs.llama, tinyWeights(tinyConfigs.llama, 'causal-lm')),
      { task: causalLm() },
    );
    await expect(openDecoder({ ...model, cache: undefined }, { backend: referenceBackend() })).rejects.toThrow(
      /does not decode/,
    );
  });

  const methods = goldensPath('methods');
  it.skipIf(!methods).each(['tiny-llama', 'tiny-qwen2', 'tiny-gpt2', 'stories260k'])(
    'continues %s as transformers does',
    async (name) => {
      const { inputs, expected, record } = await openCase(methods!, `${methods}/cases/base-forward-${name}`);
      const model = await loadModel(join(methods!, record.base!.path), { task: causalLm() });
      const backend = onnxruntime();
      const decoder = await openDecoder(model, { backend });
      const rowsOf = ({ shape: [rows, width], data }: Tensor) =>
        Array.from({ length: rows! }, (_, row) => Array.from(data.subarray(row * width!, (row + 1) * width!), Number));
      const options = { prompts: rowsOf(inputs.get('greedy/input_ids')!), maxNewTokens: 24, stopIds: [] };
      const completions = await generate(decoder, options).result();
      expect(completions.map(({ ids }) => ids)).toEqual(rowsOf(expected.get('greedy/tokens')!));
      await decoder.dispose();
      await backend.dispose();
    },
  );

  const smollm = process.env.PEFTJS_SMOLLM2;
  const reference = sharedPath('reference', 'smollm2.json');
  it.skipIf(!smollm || !reference)(
    'continues SmolLM2 as the reference does, all prompts at once (PEFTJS_SMOLLM2)',
    async () => {
      const { cases } = JSON.parse(readFileSync(reference!, 'utf8')) as {
        cases: { input_ids: number[]; greedy_ids: number[] }[];
      };
      const backend = onnxruntime();
      const decoder = await openDecoder(await loadModel(smollm!, { task: causalLm() }), { backend });
      const options = { prompts: cases.map(({ input_ids }) => input_ids), maxNewTokens: 32 };
      const completions = await generate(decoder, options).result();
      expect(completions.map(({ ids }) => ids)).toEqual(cases.map(({ greedy_ids }) => greedy_ids));
      await decoder.dispose();
      await backend.dispose();
    },
  );

  const stories = sharedPath('models', 'stories260k');
  it.skipIf(!stories)('tells the story the trained model tells', async () => {
    const model = await loadModel(stories!, { task: causalLm() });
    const backend = onnxruntime();
    const decoder = await openDecoder(model, { backend });
    const options = { prompts: [model.tokenizer!.startIds], maxNewTokens: 40, tokenizer: model.tokenizer! };
    const [{ text }] = (await generate(decoder, options).result()) as [Completion];
    expect(text).toMatch(
      /^Once upon a time, there was a little girl named Lily\. She loved to play outside in the park\./,
    );
    await decoder.dispose();
    await backend.dispose();
  });
});
