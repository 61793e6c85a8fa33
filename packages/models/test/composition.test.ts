import {
  type Adapter,
  applyAdapter,
  attachDelta,
  builtinKinds,
  indexRef,
  lowRankTerm,
  type ModelGraph,
  onAllSharing,
  sparseTerm,
  stack,
  type Term,
  train,
} from '@peftjs/core';
import { createRandom, type Tensor, type TensorRef, tensorRef } from '@peftjs/core/tensor';
import { lora } from '@peftjs/lora';
import { expectClose, referenceBackend } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { causalLm, loadModel, type Model, openSession, openWriter, sequenceClassification } from '../src/index.js';
import { tinyConfigs, tinyWeights, writeTinyModel } from './tiny-model.js';

const random = createRandom(3);
const normal = (name: string, shape: readonly number[]) => tensorRef(random.fork(name).normal(shape, 0, 0.5));

const adapterOf = (
  shape: readonly number[],
  params: Readonly<Record<string, readonly Term[]>>,
  replaced: Readonly<Record<string, TensorRef>> = {},
): Adapter => ({
  delta: {
    shape: new Map(Object.keys(params).map((path) => [path, shape])),
    params: new Map(Object.entries(params)),
  },
  replaced: new Map(Object.entries(replaced)),
  digest: 'test',
});

describe('a head tied to the embedding', () => {
  const [table, head] = ['model.embed_tokens.weight', 'lm_head.weight'] as const;
  const shape = [40, 16];
  const examples = [6, 4].map((length, row) => ({
    length,
    ids: Array.from({ length }, (_, i) => 3 + ((row + i * 5) % 37)),
    from: 1,
  }));

  async function open(weights: ReadonlyMap<string, TensorRef>, tied: boolean): Promise<Model> {
    const config = { ...tinyConfigs.llama, tie_word_embeddings: tied };
    const model = await loadModel(await writeTinyModel(config, weights), { task: causalLm() });
    return { ...model, task: { ...model.task, encode: (row: unknown) => row } } as unknown as Model;
  }

  async function tiedModel(): Promise<Model> {
    const weights = tinyWeights(tinyConfigs.llama, 'causal-lm');
    weights.delete(head);
    return open(weights, true);
  }

  async function logitsOf(model: Model, { graph, outputs }: ModelGraph): Promise<Tensor> {
    const name = outputs.logits!.name;
    const { feeds } = model.task.batch(examples as never, [0, 1]);
    const program = await referenceBackend().compile(graph, { outputs: [name] });
    const inputs = graph.inputs.map((input) => [input.name, feeds[input.name]!] as const);
    return (await program.run(Object.fromEntries(inputs)))[name]!;
  }

  const low = (name: string) =>
    lowRankTerm({ a: normal(`${name}a`, [2, 16]), b: normal(`${name}b`, [40, 2]) }, { scale: 1 });
  const turned = lowRankTerm({ a: normal('ta', [2, 40]), b: normal('tb', [16, 2]) }, { scale: 1, transposed: true });
  const sparse = sparseTerm({ indices: indexRef([3, 50, 400], 640), values: normal('sparse', [3]) });
  const cases: Readonly<Record<string, Adapter>> = {
    'an update of the head': adapterOf(shape, { [head]: [low('h')] }),
    'an update of the embedding': adapterOf(shape, { [table]: [turned] }),
    'an update of both': adapterOf(shape, { [head]: [low('h')], [table]: [turned] }),
    'single entries, which are those of both': adapterOf(shape, { [table]: [sparse] }),
    'entries of both and an update of the head': adapterOf(shape, { [table]: [sparse], [head]: [low('h')] }),
    'a head in full': adapterOf(shape, {}, { [head]: normal('full', shape) }),
    'an embedding in full': adapterOf(shape, {}, { [table]: normal('full', shape) }),
  };

  it.each(Object.keys(cases))('means one thing merged, stacked and attached: %s', async (name) => {
    const [model, adapter] = [await tiedModel(), cases[name]!];
    const { parameters } = applyAdapter(model.parameters, onAllSharing(adapter, model.targets, builtinKinds));
    const merged = await open(parameters, false);
    const expected = await logitsOf(merged, merged.graph('predict'));
    const attached = await attachDelta(model.graph('predict'), adapter);
    // 5e-6: the products are added in another order, through a whole model.
    expectClose('attached', await logitsOf(model, attached), expected, { relToMax: 5e-6 });
    const stacked = stack(model, [adapter]).graph('predict');
    expectClose('stacked', await logitsOf(model, stacked), expected, { relToMax: 5e-6 });
  });

  it('stays tied where what changes is said of both', async () => {
    const model = await tiedModel();
    const on = stack(model, [cases['single entries, which are those of both']!]);
    expect(on.parameters.get(head)).toBe(on.parameters.get(table));
    expect(on.parameters.get(head)).not.toBe(model.parameters.get(head));
    expect(on.graph('predict').graph.weights.has(head)).toBe(false);
  });

  it('is trained in full apart from the embedding', async () => {
    const model = await tiedModel();
    const method = lora({ r: 1, targetModules: ['q_proj'], modulesToSave: ['lm_head', 'embed_tokens'] });
    const options = { method, data: examples as never, backend: referenceBackend(), lr: 0.01, steps: 2, batchSize: 2 };
    const { replaced } = await train(model, options).result();
    const [one, two, before] = await Promise.all(
      [replaced.get(head)!, replaced.get(table)!, model.parameters.get(table)!].map((ref) => ref.read()),
    );
    expect(one!.data).not.toEqual(two!.data);
    for (const { data } of [one!, two!]) expect(data).not.toEqual(before!.data);
  });
});

describe('sessions with adapters', () => {
  const classes = ['a', 'b', 'c'];
  const path = 'bert.encoder.layer.0.attention.self.query.weight';
  const low = (name: string): Adapter =>
    adapterOf([16, 16], {
      [path]: [lowRankTerm({ a: normal(`${name}a`, [2, 16]), b: normal(`${name}b`, [16, 2]) }, { scale: 3 })],
    });
  const [style, domain] = [low('style'), low('domain')];
  const backend = referenceBackend();

  async function classifier(): Promise<Model> {
    const weights = tinyWeights(tinyConfigs.bert, 'sequence-classification');
    const task = sequenceClassification({ labels: classes });
    const model = await loadModel(await writeTinyModel(tinyConfigs.bert, weights), { task });
    const example = { length: 3, ids: [4, 5, 6], typeIds: [0, 0, 0], label: 1 };
    return { ...model, task: { ...model.task, encode: () => example } } as unknown as Model;
  }

  async function scoresOf(model: Model, adapters: readonly Adapter[]): Promise<readonly number[]> {
    const session = await openSession(model, { backend, adapters });
    const [found] = await session.predict(['x']);
    await session.dispose();
    return found!.scores!;
  }

  const close = (got: readonly number[], expected: readonly number[]) =>
    got.forEach((x, i) => void expect(x).toBeCloseTo(expected[i]!, 6));

  it('are weighted at every run', async () => {
    const model = await classifier();
    const adapters = [domain, { adapter: style, name: 'style', weight: 0 }];
    const session = await openSession(model, { backend, adapters });
    const scores = async (weights?: Record<string, number>) =>
      (await session.predict(['x'], { ...(weights && { weights }) }))[0]!.scores!;
    const [alone, both] = [await scoresOf(model, [domain]), await scoresOf(model, [domain, style])];
    expect(alone[0]).not.toBeCloseTo(both[0]!, 3);
    close(await scores(), alone);
    close(await scores({ style: 1 }), both);
    close(await scores({}), alone);
    await expect(scores({ style: Number.NaN, other: 1 })).rejects.toThrow(/"style" is NaN[\s\S]*"other" is no adapter/);
    await session.dispose();
    const twice = [style, domain].map((adapter) => ({ adapter, name: 'one' }));
    await expect(openSession(model, { backend, adapters: twice })).rejects.toThrow(/need a name each/);
    const infinite = [{ adapter: style, name: 'style', weight: Number.POSITIVE_INFINITY }];
    await expect(openSession(model, { backend, adapters: infinite })).rejects.toThrow(/"style" is Infinity/);
  });

  it('are weighted while they write', async () => {
    const weights = tinyWeights(tinyConfigs.llama, 'causal-lm');
    const model = (await loadModel(await writeTinyModel(tinyConfigs.llama, weights), {
      task: causalLm(),
    })) as unknown as Model;
    const strong = adapterOf([40, 16], {
      'lm_head.weight': [lowRankTerm({ a: normal('a', [2, 16]), b: normal('b', [40, 2]) }, { scale: 9 })],
    });
    const write = async (adapters: Parameters<typeof openWriter>[1]['adapters'], weight?: number) => {
      const writer = await openWriter(model, { backend, adapters: adapters! });
      const run = writer.generate([[5, 6, 7]], {
        maxNewTokens: 4,
        ...(weight !== undefined && { weights: { it: weight } }),
      });
      const [completion] = await run.result();
      await writer.dispose();
      return completion!.ids;
    };
    const [base, adapted] = [await write([]), await write([strong])];
    expect(adapted).not.toEqual(base);
    const named = [{ adapter: strong, name: 'it' }];
    expect(await write(named, 0)).toEqual(base);
    expect(await write(named)).toEqual(adapted);
  });

  it('refuse adapters of another base, and heads that take the place of each other', async () => {
    const model = await classifier();
    const stranger = { ...style, base: { name: 'other', digest: 'sha256:1' } };
    const refused = openSession(model, { backend, adapters: [stranger] });
    await expect(refused).rejects.toMatchObject({ code: 'ADAPTER_MISMATCH' });
    await expect(refused).rejects.toThrow(await model.digest());
    await scoresOf(model, [{ ...style, base: { digest: await model.digest() } }]);
    const headed = (name: string, on?: readonly string[]): Adapter => ({
      ...adapterOf([], {}, { 'classifier.weight': normal(name, [3, 16]) }),
      digest: name,
      ...(on && { on }),
    });
    const two = openSession(model, { backend, adapters: [headed('one'), headed('two')] });
    await expect(two).rejects.toMatchObject({ code: 'DELTA_CONFLICT' });
    const last = await scoresOf(model, [headed('two')]);
    close(await scoresOf(model, [headed('one'), headed('two', ['one'])]), last);
    close(await scoresOf(model, [headed('two', ['one']), headed('one')]), last);
  });
});
