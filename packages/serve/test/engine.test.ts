import {
  type Adapter,
  attachDelta,
  contentDigest,
  createRandom,
  lowRankTerm,
  readAdapter,
  type Target,
  type Tensor,
  tensorRef,
} from '@peftjs/core';
import { openSafetensors } from '@peftjs/core/files';
import { embedding, loadModel, sequenceClassification } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { goldensPath, sharedPath } from '@peftjs/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createEngine, type Engine } from '../src/index.js';

const methods = goldensPath('methods');
const inMethods = (...parts: string[]) => goldensPath('methods', ...parts)!;
const miniLm = sharedPath('models', 'all-MiniLM-L6-v2');

async function tensorsOf(path: string): Promise<(name: string) => Promise<Tensor>> {
  const { tensors } = await openSafetensors(path);
  return (name) => tensors.get(name)!.read();
}

/** Token ids of a batch, padding cut off. */
async function sequences(path: string): Promise<number[][]> {
  const read = await tensorsOf(path);
  const [ids, mask] = [await read('input_ids'), await read('attention_mask')];
  const [rows, length] = ids.shape as [number, number];
  return Array.from({ length: rows }, (_, row) =>
    Array.from({ length }, (_, i) => row * length + i)
      .filter((i) => Number(mask.data[i]) > 0)
      .map((i) => Number(ids.data[i])),
  );
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (x, i) => Math.abs(x - b[i]!)), a.length === b.length ? 0 : Number.POSITIVE_INFINITY);

describe.skipIf(!methods)('generation over tiny-llama (goldens)', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({
      model: inMethods('models', 'tiny-llama'),
      slots: { adapters: 2, rank: 8 },
      maxBatch: 8,
    });
    for (const name of ['a', 'b'])
      await engine.adapters.put(name, inMethods('cases', 'multi-adapter-tiny-llama', `adapter_${name}`));
  });
  afterAll(() => engine?.dispose());

  const generate = (adapter: string | undefined, tokens: number[], maxTokens = 10, rest = {}) =>
    engine.generate({ ...(adapter && { adapter }), tokens, maxTokens, ignoreEnd: true, ...rest }).result();

  it('predicts first what PEFT predicts, for every adapter and the base', async () => {
    const read = await tensorsOf(inMethods('cases', 'multi-adapter-tiny-llama', 'expected.safetensors'));
    const prompts = await sequences(inMethods('cases', 'multi-adapter-tiny-llama', 'inputs.safetensors'));
    for (const adapter of ['a', 'b', undefined]) {
      const logits = await read(`logits/${adapter ?? 'base'}`);
      const [, length, width] = logits.shape as [number, number, number];
      for (const [row, prompt] of prompts.entries()) {
        const at = (row * length + prompt.length - 1) * width;
        const last = Array.from(logits.data.subarray(at, at + width) as Float32Array);
        const { tokens } = await generate(adapter, prompt, 1);
        expect(tokens).toEqual([last.indexOf(Math.max(...last))]);
      }
    }
  });

  it('gives every request of a mixed batch the tokens it has alone', async () => {
    const requests: [string | undefined, number[]][] = [
      ['a', [1, 5, 9, 33, 7]],
      ['b', [1, 5, 9, 33, 7]],
      [undefined, [1, 5, 9, 33, 7]],
      ['a', [3, 4]],
      [undefined, [99, 2, 45, 17, 60, 61, 62, 8, 8, 8, 12, 100]],
      ['b', [7]],
    ];
    const alone = [];
    for (const [adapter, tokens] of requests) alone.push(await generate(adapter, tokens));
    const mixed = await Promise.all(requests.map(([adapter, tokens]) => generate(adapter, tokens)));
    expect(mixed.map(({ tokens }) => tokens)).toEqual(alone.map(({ tokens }) => tokens));
    expect(mixed[0]!.batch).toEqual({ rows: 6, adapters: 2 });
    expect(new Set(mixed.slice(0, 3).map(({ tokens }) => tokens.join())).size).toBe(3);
  });

  it('samples by the seed, whatever else is in the batch', async () => {
    const sampled = { temperature: 1, topP: 0.9, seed: 7 };
    const alone = await generate('a', [1, 2, 3], 12, sampled);
    const [again, , other] = await Promise.all([
      generate('a', [1, 2, 3], 12, sampled),
      generate('b', [1, 2, 3], 12, sampled),
      generate('a', [1, 2, 3], 12, { ...sampled, seed: 8 }),
    ]);
    expect(again!.tokens).toEqual(alone.tokens);
    expect(other!.tokens).not.toEqual(alone.tokens);
  });

  it('evicts and loads again when there are more adapters than slots', async () => {
    await engine.adapters.put('c', inMethods('cases', 'lora-qv-tiny-llama-nonzero', 'adapter_start'));
    const before = await generate('a', [1, 5, 9]);
    const all = await Promise.all(['a', 'b', 'c', 'a', 'c', 'b'].map((adapter) => generate(adapter, [1, 5, 9])));
    expect(all[0]!.tokens).toEqual(before.tokens);
    expect(all[3]!.tokens).toEqual(before.tokens);
    expect(all[4]!.tokens).toEqual(all[2]!.tokens);
    expect(all.every(({ batch }) => batch.adapters <= 2)).toBe(true);
    await engine.adapters.remove('c');
    expect(engine.adapters.list().map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('serves the new content under a name at once; the digest is the identity', async () => {
    const [old] = engine.adapters.list();
    const b = inMethods('cases', 'multi-adapter-tiny-llama', 'adapter_b');
    const info = await engine.adapters.put('a', b, { generation: old!.generation });
    expect(info).toMatchObject({ generation: old!.generation + 1 });
    const [first, second] = await Promise.all([generate('a', [5, 6]), generate('b', [5, 6])]);
    expect(first.digest).toBe(second.digest);
    expect(first.tokens).toEqual(second.tokens);
    await expect(engine.adapters.put('a', b, { generation: 1 })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await engine.adapters.put('a', inMethods('cases', 'multi-adapter-tiny-llama', 'adapter_a'));
  });

  it('streams events and stops when it is cancelled', async () => {
    const controller = new AbortController();
    const run = engine.generate({ tokens: [1], maxTokens: 60, ignoreEnd: true, signal: controller.signal });
    const seen: number[] = [];
    await expect(async () => {
      for await (const event of run) {
        seen.push(event.token);
        expect(event.batch).toEqual({ rows: 1, adapters: 0 });
        if (seen.length === 3) controller.abort();
      }
    }).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(seen.length).toBeLessThan(60);
    await expect.poll(() => engine.state()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('refuses, with one clear error, what it cannot serve', async () => {
    await expect(generate('nobody', [1])).rejects.toMatchObject({ code: 'ADAPTER_UNKNOWN' });
    await expect(generate('a', new Array(64).fill(1))).rejects.toMatchObject({ code: 'INPUT_TOO_LONG' });
    await expect(engine.generate({ prompt: 'text' }).result()).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
    await expect(engine.embed(['text'])).rejects.toMatchObject({ code: 'MODEL_UNSUPPORTED' });
    const bert = engine.adapters.put('bert', inMethods('cases', 'multi-adapter-tiny-bert', 'adapter_a'));
    await expect(bert).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringContaining('no module'),
    });
    const dense = engine.adapters.put('full', inMethods('cases', 'lora-bias-b-tiny-llama', 'adapter_start'));
    await expect(dense).rejects.toMatchObject({ code: 'ADAPTER_MISMATCH' });
    const wide = {
      ...(await readAdapter(inMethods('cases', 'multi-adapter-tiny-llama', 'adapter_a'))),
      base: { digest: 'sha256:other' },
    };
    await expect(engine.adapters.put('other', wide)).rejects.toMatchObject({
      message: expect.stringContaining('another base'),
    });
    await expect(engine.adapters.put('../up', wide)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    expect(engine.adapters.list().map(({ name }) => name)).toEqual(['a', 'b']);
  });
});

describe.skipIf(!methods)('classification over tiny-bert (goldens)', () => {
  const directory = inMethods('models', 'tiny-bert');
  const cases: [string, string][] = [
    ['a', inMethods('cases', 'multi-adapter-tiny-bert', 'adapter_a')],
    ['b', inMethods('cases', 'multi-adapter-tiny-bert', 'adapter_b')],
    ['own-head', inMethods('cases', 'lora-modules-to-save-tiny-bert', 'adapter_end')],
  ];
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({ model: directory, task: 'classify', slots: { adapters: 4, rank: 6 }, maxBatch: 32 });
    for (const [name, path] of cases) await engine.adapters.put(name, path);
  });
  afterAll(() => engine?.dispose());

  it('mixes adapters with and without a head of their own, each as if attached alone', async () => {
    const inputs = await sequences(inMethods('cases', 'multi-adapter-tiny-bert', 'inputs.safetensors'));
    const names = ['a', 'own-head', undefined, 'b'];
    const served = await Promise.all(
      names.map((name) => engine.classify(inputs, name === undefined ? {} : { adapter: name })),
    );
    expect(served[3]!.batch.adapters).toBe(3);

    const backend = onnxruntime();
    const model = await loadModel(directory, { task: sequenceClassification({ layout: 'padded' }) });
    for (const [i, name] of names.entries()) {
      const path = cases.find(([known]) => known === name)?.[1];
      const graph = model.graph('predict');
      const attached = path
        ? await attachDelta(graph, await readAdapter(path), { parameters: model.parameters })
        : graph;
      const program = await backend.compile(attached.graph);
      const examples = inputs.map((ids) => ({ length: ids.length, ids, typeIds: ids.map(() => 0) }));
      const { logits } = await program.run(model.task.batch(examples, [...examples.keys()], { labels: false }).feeds);
      await program.dispose();
      const difference = inputs.map((_, row) => {
        const x = Array.from(logits!.data.subarray(3 * row, 3 * row + 3) as Float32Array, Math.exp);
        const p = x.map((value) => value / (x[0]! + x[1]! + x[2]!));
        return largestDifference(Object.values(served[i]!.results[row]!.scores), p);
      });
      expect(Math.max(...difference), `${name}`).toBeLessThan(1e-6);
    }
    await backend.dispose();
  });

  it('names the labels', async () => {
    const { results } = await engine.classify([[2, 5, 9, 3]], { adapter: 'a' });
    expect(Object.keys(results[0]!.scores)).toEqual(['LABEL_0', 'LABEL_1', 'LABEL_2']);
    expect(results[0]!.scores[results[0]!.label]).toBe(Math.max(...Object.values(results[0]!.scores)));
  });
});

/** A random adapter of rank 2 on the query of every layer, with a head of its own when it has labels. */
async function randomAdapter(targets: readonly Target[], seed: number, labels = 0): Promise<Adapter> {
  const queries = targets.filter(({ role }) => role === 'query');
  const random = createRandom(seed);
  const normal = (shape: number[], ...name: string[]) => tensorRef(random.fork(...name).normal(shape, 0, 0.05));
  const params = new Map(
    queries.map(({ path, in: n, out }) => {
      const factors = { a: normal([2, n], path, 'a'), b: normal([out, 2], path, 'b') };
      return [`${path}.weight`, [lowRankTerm(factors, { scale: 2 })]] as const;
    }),
  );
  const shape = new Map(queries.map(({ path, in: n, out }) => [`${path}.weight`, [out, n]]));
  const head = targets.find((target) => target.head);
  const replaced = new Map(
    labels > 0 && head
      ? [
          [`${head.path}.weight`, normal([labels, head.in], 'head')],
          [`${head.path}.bias`, normal([labels], 'bias')],
        ]
      : [],
  );
  const content = { delta: { shape, params }, replaced };
  return { ...content, digest: await contentDigest(content) };
}

describe.skipIf(!miniLm)('embeddings over all-MiniLM-L6-v2', () => {
  it('batches tenants together; each vector is the one it has alone, of length 1', async () => {
    const model = await loadModel(miniLm!, { task: embedding() });
    const engine = await createEngine({ model, slots: { adapters: 2 }, threads: 1 });
    const texts = ['a small cat', 'The quarterly report is due on Monday, the board said.'];
    const plain = await engine.embed(texts); // before any adapter is there: a graph without slots
    for (const [i, name] of ['x', 'y'].entries())
      await engine.adapters.put(name, await randomAdapter(model.targets, i));
    const names = ['x', 'y', undefined];
    const of = (name: string | undefined) => engine.embed(texts, name === undefined ? {} : { adapter: name });
    const mixed = await Promise.all(names.map(of));
    expect(mixed[0]!.batch).toEqual({ rows: 6, adapters: 2 });
    for (const [i, name] of names.entries()) {
      const alone = await of(name);
      for (const [t, vector] of alone.vectors.entries()) {
        expect(largestDifference(vector, mixed[i]!.vectors[t]!), `${name}`).toBeLessThan(2e-6); // other padding, other sums
        expect(Math.hypot(...vector)).toBeCloseTo(1, 5);
      }
    }
    expect(largestDifference(plain.vectors[0]!, mixed[2]!.vectors[0]!)).toBeLessThan(2e-6); // as above
    expect(largestDifference(mixed[0]!.vectors[0]!, mixed[1]!.vectors[0]!)).toBeGreaterThan(1e-3);
    await engine.dispose();
  });
});

describe.skipIf(!miniLm)('classification over a base without a head', () => {
  it('serves heads of different widths in one batch', async () => {
    const { targets } = await loadModel(miniLm!, { task: sequenceClassification({ labels: ['0', '1'] }) });
    const engine = await createEngine({ model: miniLm!, task: 'classify', slots: { adapters: 3 } });
    const classify = (adapter?: string) => engine.classify(['a small cat'], adapter === undefined ? {} : { adapter });
    await expect(classify()).rejects.toMatchObject({ code: 'ADAPTER_UNKNOWN' });
    const headless = engine.adapters.put('headless', await randomAdapter(targets, 0));
    await expect(headless).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringContaining('classifier'),
    });

    await engine.adapters.put('two', await randomAdapter(targets, 1, 2));
    const before = await classify('two');
    await engine.adapters.put('six', await randomAdapter(targets, 2, 6)); // wider: what is resident has to move
    const [two, six] = await Promise.all([classify('two'), classify('six')]);
    expect(two.batch).toEqual({ rows: 2, adapters: 2 });
    const scores = [before, two, six].map(({ results }) => Object.values(results[0]!.scores));
    expect(scores.map(({ length }) => length)).toEqual([2, 2, 6]);
    expect(largestDifference(scores[0]!, scores[1]!)).toBeLessThan(1e-6);
    for (const p of scores) expect(p.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 6);
    await engine.dispose();
  });
});
