import { join } from 'node:path';
import {
  type Adapter,
  attachDelta,
  attachMethod,
  bindMethod,
  defineMethod,
  encodeAdapter,
  f32,
  isPeftError,
  lowRankTerm,
  type ModelGraph,
  type PhaseStart,
  sparseTerm,
  stack,
  sum,
  type Tensor,
  type TrainOptions,
  tensorRef,
  toAdapter,
  train,
} from '@peftjs/core';
import { causalLm, loadModel } from '@peftjs/models';
import { compare, goldensPath, referenceBackend, tensorOf, tinyFeeds, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { type SftOptions, sft } from '../src/index.js';

const modules = ['model.embed', 'model.layers.0.up', 'model.layers.0.down', 'model.layers.1.mix'];
const model = tinyModel();

const run = (method: TrainOptions['method'], more: Partial<TrainOptions> = {}) =>
  train(model, { method, data: tinyRows(), backend: referenceBackend(), lr: 0.02, steps: 8, batchSize: 4, ...more });

async function entries({ delta }: Adapter) {
  const all = new Map<string, { indices: number[]; values: number[] }>();
  for (const [path, [term]] of delta.params) {
    expect(term!.kind).toBe('sparse');
    const read = async (name: string) => Array.from((await term!.tensors[name]!.read()).data as Int32Array, Number);
    all.set(path, { indices: await read('indices'), values: await read('values') });
  }
  return all;
}

const count = (all: Map<string, { indices: number[] }>) =>
  [...all.values()].reduce((n, { indices }) => n + indices.length, 0);

/** The method with what its phases begin at. */
function watched(
  options: SftOptions & { targetModules: string[]; modulesToSave?: string[]; trainableTokenIndices?: number[] },
) {
  const starts: PhaseStart[] = [];
  const bind = defineMethod({
    ...sft.method,
    async next(end) {
      const start = await sft.method.next!(end);
      starts.push(start);
      return start;
    },
  });
  return { method: bind(options), starts };
}

const numbers = (tensor: Tensor | undefined) => Array.from(tensor!.data as Float32Array);

describe('sft', () => {
  it('is a plugin with both methods', () => {
    expect(plugin.methods?.map(({ method }) => method.name)).toEqual(['sft', 'spiel']);
  });

  it('takes its defaults from the paper: all targets, a hundredth of their numbers, norms left alone', () => {
    expect(sft().config).toMatchObject({
      targetModules: 'all',
      density: 0.01,
      iterations: 1,
      fullL1: 0,
      sparseL1: 0,
      layerNorms: false,
      biases: true,
    });
  });

  it('leaves out heads and norms, and biases where they are not wanted', async () => {
    const sizes = (options: SftOptions) => bindMethod(sft({ targetModules: modules, ...options }), model).size;
    expect(sizes({})).toBe(30 + 48 + 8 + 48 + 6 + 48 + 8);
    expect(sizes({ biases: false })).toBe(30 + 48 + 48 + 48);
    const adapter = await run(sft({ targetModules: 'all', density: 0.5 })).result();
    expect([...adapter.delta.params.keys()].some((path) => path.startsWith('head'))).toBe(false);
  });

  it('changes exactly the budget, ascending, and nothing else of the base', async () => {
    const found = await entries(await run(sft({ targetModules: modules, count: 25 })).result());
    expect(count(found)).toBe(25);
    for (const { indices } of found.values()) expect(indices).toEqual([...new Set(indices)].sort((a, b) => a - b));
  });

  it('names its phases and begins the second with a fresh schedule', async () => {
    const phases: string[] = [];
    const rates: number[] = [];
    for await (const event of run(sft({ targetModules: modules, count: 9, fullShare: 0.25 }))) {
      if (event.type !== 'step') continue;
      phases.push(event.phase!);
      rates.push(event.lr);
    }
    expect(phases).toEqual(['full', 'full', ...Array.from({ length: 6 }, () => 'sparse')]);
    expect([rates[0], rates[2]]).toEqual([0.02, 0.02]);
  });

  it('goes back to where the iteration began before it trains what it has selected, heads too', async () => {
    const { method, starts } = watched({ targetModules: modules, modulesToSave: ['head'], count: 20, iterations: 2 });
    await run(method, { steps: 12 }).result();
    const [first, full, second] = starts;
    expect(numbers(first!.replaced!.get('head.weight'))).toEqual(
      numbers(await model.parameters.get('head.weight')!.read()),
    );
    for (const { train } of first!.sites.values())
      for (const values of Object.values(train)) expect(numbers(values).every((x) => x === 0)).toBe(true);
    // The second iteration goes on from the first: what was selected keeps its values through the rewind.
    expect(numbers(second!.replaced!.get('head.weight'))).toEqual(numbers(full!.kept!.get('head.weight')));
    for (const [path, { train, frozen }] of second!.sites)
      for (const [name, values] of Object.entries(train)) {
        const change = full!.sites.get(path)!.train[name]!.data;
        const indices = Array.from(frozen![`${name}.indices`]!.data as BigInt64Array, Number);
        expect(numbers(values)).toEqual(indices.map((index) => change[index]));
      }
    const trained = [...second!.sites.values()].flatMap(({ train }) => Object.values(train));
    expect(trained.reduce((n, { data }) => n + data.length, 0)).toBe(20);
  });

  it('goes back with rows of tokens too', async () => {
    const targetModules = ['model.layers.0.up'];
    const { method, starts } = watched({ targetModules, trainableTokenIndices: [0, 2], count: 5, iterations: 2 });
    await run(method, { steps: 8 }).result();
    const table = numbers(await model.parameters.get('model.embed.weight')!.read());
    const [first, full, second] = starts;
    const rows = 'model.embed:tokens';
    expect(numbers(first!.replaced!.get(rows))).toEqual([...table.slice(0, 6), ...table.slice(12, 18)]);
    expect(numbers(full!.kept!.get(rows))).not.toEqual(numbers(first!.replaced!.get(rows)));
    expect(numbers(second!.replaced!.get(rows))).toEqual(numbers(full!.kept!.get(rows)));
  });

  it('selects no more than what has moved', async () => {
    // Rows of the embedding that no token asks for have no gradient: 3 tokens of 5, width 6.
    const data = tinyRows(3);
    const found = await entries(await run(sft({ targetModules: ['model.embed'], density: 1 }), { data }).result());
    const { indices } = found.get('model.embed.weight')!;
    expect(indices.length).toBeLessThanOrEqual(18);
    expect(indices.every((index) => index < 18)).toBe(true);
  });

  it('moves nothing else by weight decay', async () => {
    const plain = await entries(await run(sft({ targetModules: modules, count: 25 }), { weightDecay: 0.5 }).result());
    expect(count(plain)).toBe(25);
  });

  it('is pulled towards the base by the L1 term, which is reported beside the loss', async () => {
    const size = async (options: SftOptions) => {
      const found = await entries(
        await run(sft({ targetModules: modules, count: 40, ...options }), { steps: 20 }).result(),
      );
      return [...found.values()].flatMap(({ values }) => values).reduce((sum, x) => sum + Math.abs(x), 0);
    };
    expect(await size({ sparseL1: 50 })).toBeLessThan(0.5 * (await size({})));
    const penalties: (number | undefined)[] = [];
    for await (const event of run(sft({ targetModules: modules, fullL1: 1 }))) {
      if (event.type === 'step') penalties.push(event.penalty);
    }
    expect(penalties[0]).toBe(0);
    expect(penalties[1]).toBeGreaterThan(0);
    expect(penalties.at(-1)).toBeUndefined();
  });

  it.each([
    [{ count: 1000 }, 'count is 1000, and the targets have'],
    [{ density: 0.001 }, 'at least 1 are needed'],
    [{ count: 2, iterations: 3 }, 'at least 3 are needed'],
    [{ dropout: 0.1 }, 'dropout has no place'],
    [{ bias: 'all' }, 'bias is "all", but biases: true'],
    [{ bias: 'sft_only', biases: false, layerNorms: true }, 'but layerNorms: true changes'],
    [{ density: 2 }, 'density'],
    [{ fullShare: 1 }, 'fullShare'],
  ])('refuses %j', async (options, named) => {
    const error = await (async () =>
      run(sft({ targetModules: modules, ...options } as Parameters<typeof sft>[0])).result())().catch((e) => e);
    expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(named);
  });

  it('trains biases in full where it does not change them sparsely', async () => {
    const method = sft({ targetModules: modules, count: 5, biases: false, bias: 'all' });
    const adapter = await run(method).result();
    expect(adapter.replaced.has('model.layers.0.up.bias')).toBe(true);
    expect((await encodeAdapter(adapter)).layout).toBe('PEFTJS');
  });

  it('refuses to select where nothing moved', async () => {
    const still = run(sft({ targetModules: modules, count: 5 }), { steps: 1 });
    await expect(still.result()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });

  it('trains a task with the language in place, which then adds to this language or another', async () => {
    const method = sft({ targetModules: modules, count: 20 });
    const [language, other] = [await run(method).result(), await run(method, { seed: 1 }).result()];
    const stacked = stack(model, [language]);
    const data = tinyRows();
    const backend = referenceBackend();
    const task = await train(stacked, { method, data, backend, lr: 0.02, steps: 8 }).result();
    const scores = async (base: typeof model, adapter: Adapter) => {
      const { graph } = await attachDelta(base.graph('predict'), adapter, { parameters: base.parameters });
      const program = await backend.compile(graph);
      const { input_ids, features } = tinyFeeds();
      const { logits } = await program.run({ input_ids: input_ids!, features: features! });
      await program.dispose();
      return logits!;
    };
    const both = await scores(model, sum(language, task));
    // 5e-6: the changes are added in another order.
    expect(compare(both, await scores(stacked, task), { relToMax: 5e-6 }).close).toBe(true);
    expect(compare(await scores(model, sum(other, task)), both, { relToMax: 1e-3 }).close).toBe(false);
  });

  it('goes on with the numbers that an adapter has changed, in one sparse phase, and no others', async () => {
    const method = sft({ targetModules: modules, count: 5 });
    const start = await run(method).result();
    const again = run(method, { start });
    const said: { trainable?: number; phases: (string | undefined)[] } = { phases: [] };
    for await (const event of again) {
      if (event.type === 'start') said.trainable = event.trainableAdapter;
      if (event.type === 'step') said.phases.push(event.phase);
    }
    expect(said.trainable).toBe(5);
    expect(new Set(said.phases)).toEqual(new Set([undefined]));
    const places = async ({ delta }: Adapter) =>
      Promise.all([...delta.params].map(async ([path, [term]]) => [path, (await term!.tensors.indices!.read()).data]));
    const [before, after] = [start, await again.result()];
    expect(await places(after)).toEqual(await places(before));
    expect(after.digest).not.toBe(before.digest);
  });

  it('takes zeros for no change, and leaves a place of an update that is nothing else', async () => {
    const method = sft({ targetModules: ['model.layers.0.up', 'model.layers.0.down'], biases: false, count: 5 });
    const start = await run(method).result();
    const sparse = (values: number[]) =>
      sparseTerm({
        indices: tensorRef({ dtype: 'i32', shape: [values.length], data: Int32Array.from(values.keys()) }),
        values: tensorRef(f32([values.length], values)),
      });
    const params = new Map([
      ['model.layers.0.up.weight', [sparse([0, 0.5, 0, -0.5])]],
      ['model.layers.0.down.weight', [sparse([0, 0])]],
    ]);
    const padded = { ...start, delta: { ...start.delta, params } };
    for await (const event of run(method, { start: padded }))
      if (event.type === 'start') expect(event.trainableAdapter).toBe(3);
  });

  it('refuses to go on from an update of another kind', async () => {
    const method = sft({ targetModules: modules, count: 5 });
    const start = await run(method).result();
    const [path] = start.delta.params.keys();
    const factors = { a: tensorRef(f32([1, 1], [1])), b: tensorRef(f32([1, 1], [1])) };
    const params = new Map([[path!, [lowRankTerm(factors, { scale: 1 })]]]);
    const other = { ...start, delta: { ...start.delta, params } };
    await expect(run(method, { start: other }).result()).rejects.toMatchObject({
      code: 'CONFIG_UNSUPPORTED',
      message: expect.stringContaining('kind low-rank'),
    });
  });

  const goldens = goldensPath();
  it.skipIf(!goldens)('changes a tied table for the head too, in training as in use', async () => {
    const base = await loadModel(join(goldens!, 'methods/models/tiny-gpt2'), { task: causalLm() });
    const { targets, parameters } = base;
    const plan = bindMethod(sft({ targetModules: ['wte'] }), { targets, parameters });
    const change = tensorOf('f32', [128, 32], { from: -0.3, to: 0.3 }, 'change');
    const start = { train: new Map([['transformer.wte:weight', change]]), frozen: new Map(), held: new Map() };
    const indices = {
      dtype: 'i64',
      shape: [4096],
      data: BigInt64Array.from({ length: 4096 }, (_, i) => BigInt(i)),
    } as const;
    const sparse = {
      train: new Map([['transformer.wte:weight', { ...change, shape: [4096] }]]),
      frozen: new Map([['transformer.wte:weight.indices', indices]]),
      held: new Map(),
    };
    const ids: Tensor = { dtype: 'i64', shape: [1, 3], data: BigInt64Array.of(5n, 17n, 9n) };
    const positions: Tensor = { ...ids, data: BigInt64Array.of(0n, 1n, 2n) };
    const feeds: Record<string, Tensor> = {
      input_ids: ids,
      position_ids: positions,
      attention_mask: { ...ids, data: BigInt64Array.of(1n, 1n, 1n) },
      read: positions,
      'transformer.wte:weight': change,
    };
    const logits = async ({ graph, outputs }: ModelGraph) => {
      const program = await referenceBackend().compile(graph, { outputs: [outputs.logits!.name] });
      const given = graph.inputs.map(({ name }) => [name, feeds[name]!] as const);
      const result = await program.run(Object.fromEntries(given));
      await program.dispose();
      return result[outputs.logits!.name]!;
    };
    const trained = await logits(attachMethod(base.graph('predict'), plan, start, { training: false }).model);
    const adapter = await toAdapter(plan, sparse, { parameters });
    const used = await logits(await attachDelta(base.graph('predict'), adapter, { parameters }));
    const { close, message } = compare(used, trained, { relToMax: 5e-6 }); // products are added in another order
    expect(close, message).toBe(true);
    expect(compare(trained, await logits(base.graph('predict')), { relToMax: 0.1 }).close).toBe(false);
  });
});
