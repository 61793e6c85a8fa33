import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { compare } from '../../testkit/src/allclose.js';
import {
  type Adapter,
  applyAdapter,
  attachDelta,
  attachMethod,
  attachSlots,
  bindMethod,
  contentDigest,
  createRandom,
  type Delta,
  defineMethod,
  denseTerm,
  f32,
  isPeftError,
  lowRankTerm,
  resumeTensors,
  type Start,
  scale,
  scalingTerm,
  slotValues,
  startTensors,
  sum,
  type Tensor,
  tensorRef,
  toAdapter,
} from '../src/index.js';
import { chainGraph, chainParameters, chainTargets, ids, runChain } from './support/chain.js';

/** ΔW = B A without anything else, so that every number of the test can be followed. */
const plain = defineMethod({
  spec: 'v1',
  name: 'plain',
  paper: 'https://arxiv.org/abs/2106.09685',
  layout: 'LORA',
  additive: true,
  kinds: ['linear', 'conv1d', 'embedding'],
  config: z.strictObject({
    r: z.number().int().positive().default(2),
    ranks: z.record(z.string(), z.number()).default({}),
    odd: z.boolean().default(true),
  }),
  patterns: { r: 'ranks' },
  check: (target, c) => (c.odd || c.r % 2 === 0 ? [] : [`r is ${c.r} for ${target.out} outputs`]),
  init: (target, c, rng) => ({
    train: { b: rng.fork('b').normal([target.out, c.r], 0, 0.3) },
    frozen: { a: rng.fork('a').normal([c.r, target.in], 0, 0.3) },
  }),
  delta: ({ p }, ops) => ops.matmul(p.b!, p.a!),
  toDelta: ({ p, target }) => ({
    weight: lowRankTerm(
      { a: tensorRef(p.a!), b: tensorRef(p.b!) },
      { scale: 1, transposed: target.kind === 'conv1d', embedding: target.kind === 'embedding' },
    ),
  }),
  fromDelta: async ({ terms }) => ({
    a: await terms.weight!.tensors.a!.read(),
    b: await terms.weight!.tensors.b!.read(),
  }),
  size: (target, c) => c.r * target.out,
  rule: ({ name, shape }) => (name === 'b' ? { lr: 2 } : shape.length === 1 ? { weightDecay: 0 } : {}),
  precondition: ({ g, p }, ops) => ops.mul(g, ops.sum(p.a!, [0, 1], { keepdims: false })),
});

const parameters = chainParameters();
const model = { targets: chainTargets(parameters), parameters };
const everything = { targetModules: ['embed', 'q', 'mix', 'head'] };

const near = (got: Tensor, expected: Tensor) => {
  const found = compare(got, expected, { relToMax: 1e-6 });
  expect(found.close, found.message).toBe(true);
};

const messageOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
  } catch (error) {
    return isPeftError(error) ? `${error.code} ${error.message}` : String(error);
  }
  return 'nothing thrown';
};

async function trained(options: Parameters<typeof plain>[0], seed = 3): Promise<{ adapter: Adapter; start: Start }> {
  const plan = bindMethod(plain(options), model);
  const start = await startTensors(plan, { seed, parameters });
  return { adapter: await toAdapter(plan, start, { parameters }), start };
}

describe('laying a method out on a model', () => {
  it('chooses targets, applies patterns, counts', () => {
    const plan = bindMethod(plain({ ...everything, ranks: { mix: 3, '^m.0.q': 1, gone: 5 } }), model);
    expect(plan.sites.map(({ target, c }) => [target.path, c.r])).toEqual([
      ['m.embed', 2],
      ['m.0.q', 1],
      ['m.0.mix', 3],
      ['head', 2],
    ]);
    expect(plan.size).toBe(2 * 4 + 1 * 5 + 3 * 6 + 2 * 3);
    expect(plan.report.unmatched).toEqual([{ rule: 'ranks', entry: 'gone' }]);
  });

  it('takes all matrices but embeddings and heads by default', () => {
    expect(bindMethod(plain(), model).report.matched).toEqual(['m.0.q', 'm.0.mix']);
  });

  it('trains saved modules and biases in full', () => {
    const saved = bindMethod(plain({ targetModules: ['q'], modulesToSave: ['head', 'nothing'] }), {
      ...model,
      modulesToSave: ['mix'],
    });
    expect(saved.replaced).toEqual(['m.0.mix.weight', 'm.0.mix.bias', 'head.weight']);
    expect(saved.report.unmatched).toEqual([{ rule: 'modulesToSave', entry: 'nothing' }]);
    expect(bindMethod(plain({ targetModules: ['q'], bias: 'plain_only' }), model).replaced).toEqual(['m.0.q.bias']);
    expect(bindMethod(plain({ targetModules: ['q'], bias: 'all' }), model).replaced).toEqual([
      'm.0.q.bias',
      'm.0.mix.bias',
      'unused.bias',
    ]);
    expect(bindMethod(plain({ targetModules: ['q'], bias: 'all' }), model).size).toBe(2 * 5 + 5 + 6 + 2);
  });

  it('asks the method about every target and lists what it refuses', async () => {
    const message = await messageOf(() => bindMethod(plain({ r: 3, odd: false }), model));
    expect(message).toContain('CONFIG_INVALID');
    expect(message).toContain('"m.0.q": r is 3 for 5 outputs');
    expect(message).toContain('"m.0.mix": r is 3 for 6 outputs');
  });

  it('refuses what no method made', async () => {
    const { method, config } = plain();
    expect(await messageOf(() => bindMethod({ method, config }, model))).toContain('PLUGIN_INCOMPATIBLE');
  });

  it('draws a target from its own path, whatever else is chosen', async () => {
    const [one, all] = await Promise.all([trained({ targetModules: ['q'] }), trained(everything)]);
    expect(one.start.train.get('m.0.q:b')).toEqual(all.start.train.get('m.0.q:b'));
    expect(one.start.train.get('m.0.q:b')).not.toEqual((await trained(everything, 4)).start.train.get('m.0.q:b'));
  });

  it('goes on from its own adapter and refuses another one', async () => {
    const { adapter, start } = await trained({ ...everything, modulesToSave: [] });
    const plan = bindMethod(plain(everything), model);
    expect(await resumeTensors(plan, adapter, { seed: 9, parameters })).toEqual(start);
    const other = bindMethod(plain({ targetModules: ['q', 'mix'], r: 1 }), model);
    const message = await messageOf(() => resumeTensors(other, adapter, { seed: 9, parameters }));
    for (const part of ['ADAPTER_MISMATCH', '"m.0.q:b" is [5,2]', 'it changes "head.weight"'])
      expect(message).toContain(part);
  });
});

describe('attaching', () => {
  it('a method equals merging it, where one target feeds the next', async () => {
    const plan = bindMethod(plain({ ...everything, bias: 'plain_only' }), model);
    const start = await startTensors(plan, { seed: 3, parameters });
    const attached = attachMethod(chainGraph(parameters), plan, start, { training: true });
    expect(attached.trainables.map(({ name, rule }) => [name, rule])).toEqual([
      ['m.embed:b', { lr: 2 }],
      ['m.0.q:b', { lr: 2 }],
      ['m.0.mix:b', { lr: 2 }],
      ['head:b', { lr: 2 }],
      ['m.0.q.bias', { weightDecay: 0 }],
      ['m.0.mix.bias', { weightDecay: 0 }],
    ]);
    expect(attached.notes.join()).toContain('no fast path');
    expect(attached.dropout).toEqual([]);
    const adapter = await toAdapter(plan, start, { parameters });
    const merged = applyAdapter(parameters, adapter).parameters;
    near(await runChain(attached.model, Object.fromEntries(start.train)), await runChain(chainGraph(merged)));
  });

  it('drops elements by the mask it is fed, and never ids', async () => {
    const plan = bindMethod(plain({ targetModules: ['embed', 'q'], dropout: 0.75 }), model);
    const start = await startTensors(plan, { seed: 3, parameters });
    const { model: graph, dropout } = attachMethod(chainGraph(parameters), plan, start, { training: true });
    expect(dropout).toEqual([{ name: 'm.0.q:dropout', rows: 'batch*length', width: 4, p: 0.75 }]);
    const mask = (keep: number) => ({ dtype: 'u8', shape: [6, 4], data: new Uint8Array(24).fill(keep) }) as const;
    const feeds = Object.fromEntries(start.train);
    const b = start.train.get('m.0.q:b')!;
    const scaled = (factor: number) => ({
      ...feeds,
      'm.0.q:b': f32(
        b.shape,
        (b.data as Float32Array).map((x) => x * factor),
      ),
    });
    const still = attachMethod(chainGraph(parameters), plan, start, { training: false });
    expect(still.dropout).toEqual([]);
    near(await runChain(graph, { ...feeds, 'm.0.q:dropout': mask(1) }), await runChain(still.model, scaled(4)));
    near(await runChain(graph, { ...feeds, 'm.0.q:dropout': mask(0) }), await runChain(still.model, scaled(0)));
  });

  it('lets the method change a gradient with its tensors', async () => {
    const plan = bindMethod(plain({ targetModules: ['q'] }), model);
    const start = await startTensors(plan, { seed: 3, parameters });
    const { model: graph, trainables } = attachMethod(chainGraph(parameters), plan, start, { training: true });
    const { createOps } = await import('../src/index.js');
    const ops = createOps(graph.graph);
    ops.output(trainables[0]!.precondition!(trainables[0]!.value, ops), 'changed');
    const { referenceBackend } = await import('../../testkit/src/reference/backend.js');
    const program = await referenceBackend().compile(graph.graph);
    const { changed } = await program.run({ input_ids: ids, ...Object.fromEntries(start.train) });
    const total = (start.frozen.get('m.0.q:a')!.data as Float32Array).reduce((s, x) => s + x, 0);
    near(
      changed!,
      f32(
        [5, 2],
        (start.train.get('m.0.q:b')!.data as Float32Array).map((x) => x * total),
      ),
    );
  });
});

/** An adapter of every sort of term on the chain. */
async function mixed(seed: number): Promise<Adapter> {
  const { adapter } = await trained(everything, seed);
  const random = createRandom(seed);
  const extra: Delta = {
    shape: new Map([
      ['m.0.q.weight', [5, 4]],
      ['m.embed.weight', [7, 4]],
      ['m.0.mix.weight', [5, 6]],
      ['m.0.q.bias', [5]],
    ]),
    params: new Map([
      ['m.0.q.weight', [denseTerm(tensorRef(random.fork('q').normal([5, 4])), 0.1)]],
      ['m.embed.weight', [denseTerm(tensorRef(random.fork('e').normal([7, 4])), 0.1)]],
      ['m.0.mix.weight', [denseTerm(tensorRef(random.fork('x').normal([5, 6])), 0.1)]],
      ['m.0.q.bias', [denseTerm(tensorRef(random.fork('b').normal([5])), 0.5)]],
    ]),
  };
  const delta = sum(adapter.delta, extra);
  return { delta, replaced: new Map(), digest: await contentDigest({ delta, replaced: new Map() }) };
}

describe('attaching finished adapters', () => {
  const mergedRun = async (adapter: Adapter) => runChain(chainGraph(applyAdapter(parameters, adapter).parameters));

  it('equals merging them, one and several', async () => {
    const [one, two] = [await mixed(1), await mixed(2)];
    const first = await attachDelta(chainGraph(parameters), one);
    near(await runChain(first), await mergedRun(one));
    const both = await attachDelta(first, two, { weight: 0.5 });
    near(await runChain(both), await mergedRun(sum(one, scale(two, 0.5))));
  });

  it('can be weighted at run time', async () => {
    const one = await mixed(1);
    const model = await attachDelta(chainGraph(parameters), one, { weight: 'input', name: 'style' });
    for (const weight of [0, 0.25, 1])
      near(await runChain(model, { 'style:weight': f32([], [weight]) }), await mergedRun(scale(one, weight)));
  });

  it('changes a bias that another adapter has replaced, where it was trained on top of it', async () => {
    const { shape } = (await mixed(1)).delta;
    const vector = (name: string) => tensorRef(createRandom(6).fork(name).normal([5]));
    const scaled = scalingTerm(vector('l'), { side: 'output' });
    const changes = new Map([
      ['m.0.q.weight', [scaled]],
      ['m.0.q.bias', [scaled]],
    ]);
    const nothing: Delta = { shape, params: new Map() };
    const first: Adapter = { delta: nothing, replaced: new Map([['m.0.q.bias', vector('bias')]]), digest: 'first' };
    const delta = { shape: new Map([...shape, ['m.0.q.bias', [5]]]), params: changes };
    const second: Adapter = { delta, replaced: new Map(), digest: 'second', on: ['first'] };
    const both = await attachDelta(await attachDelta(chainGraph(parameters), first), second);
    near(await runChain(both), await mergedRun(sum(first, second)));
  });

  it('takes no weight that is not finite', async () => {
    const one = await mixed(1);
    for (const weight of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(await messageOf(() => attachDelta(chainGraph(parameters), one, { weight }))).toContain('CONFIG_INVALID');
  });

  it('refuses to replace what another adapter has replaced or changed, and the other way round', async () => {
    const whole = (digest: string): Adapter => ({
      delta: { shape: new Map(), params: new Map() },
      replaced: new Map([['head.weight', tensorRef(createRandom(5).normal([3, 6]))]]),
      digest,
    });
    const changing = await mixed(1);
    expect(changing.delta.params.has('head.weight')).toBe(true);
    for (const [first, second] of [
      [whole('a'), whole('b')],
      [whole('a'), changing],
      [changing, whole('a')],
    ] as const) {
      const model = await attachDelta(chainGraph(parameters), first, { parameters });
      expect(await messageOf(() => attachDelta(model, second, { parameters }))).toMatch(
        /DELTA_CONFLICT.*"head.weight" is replaced in full/,
      );
    }
  });

  it('puts replacements and updates of other parameters in place', async () => {
    const replaced = new Map([['head.weight', tensorRef(createRandom(5).normal([3, 6]))]]);
    const delta: Delta = {
      shape: new Map([['unused.bias', [2]]]),
      params: new Map([['unused.bias', [denseTerm(tensorRef(f32([2], [1, 1])))]]]),
    };
    const adapter: Adapter = { delta, replaced, digest: 'x' };
    near(await runChain(await attachDelta(chainGraph(parameters), adapter, { parameters })), await mergedRun(adapter));
    const message = await messageOf(() => attachDelta(chainGraph(parameters), adapter));
    expect(message).toContain('it changes "unused.bias", which the model does not have');
    expect(await messageOf(() => attachDelta(chainGraph(parameters), adapter, { parameters, weight: 0.5 }))).toContain(
      'DELTA_CONFLICT',
    );
  });
});

describe('adapter slots', () => {
  it('give every batch row its own adapter, and slot 0 the base', async () => {
    const sites = new Map(chainTargets(parameters).map((target) => [target.path, target]));
    const adapters = await Promise.all([1, 2].map((seed) => trained({ ...everything, r: seed }, seed)));
    const { model: graph, inputs } = attachSlots(chainGraph(parameters), {
      adapters: 2,
      rank: 3,
      sites: [...sites.keys()],
    });
    const feeds: Record<string, Tensor> = {};
    const values = await Promise.all(adapters.map(({ adapter }) => slotValues(adapter, sites, { rank: 3 })));
    for (const [path, names] of inputs) {
      const { in: inside, out } = sites.get(path)!;
      const stack = (name: 'a' | 'b', shape: number[]) =>
        f32(
          [3, ...shape],
          [
            ...new Float32Array(shape[0]! * shape[1]!),
            ...values.flatMap((v) => [...(v.get(path)![name].data as Float32Array)]),
          ],
        );
      feeds[names.a] = stack('a', [inside, 3]);
      feeds[names.b] = stack('b', [3, out]);
    }
    const alone = [
      await runChain(chainGraph(parameters)),
      ...(await Promise.all(
        adapters.map(({ adapter }) => runChain(chainGraph(applyAdapter(parameters, adapter).parameters))),
      )),
    ];
    for (const slots of [
      [0, 1],
      [2, 0],
      [1, 2],
      [1, 1],
    ]) {
      const got = await runChain(graph, {
        ...feeds,
        adapter_slot: { dtype: 'i64', shape: [2], data: BigInt64Array.from(slots, BigInt) },
      });
      const expected = slots.flatMap((slot, row) => [
        ...(alone[slot]!.data as Float64Array).slice(row * 9, row * 9 + 9),
      ]);
      near(got, f32([6, 3], expected));
    }
  });

  it('refuse what does not fit into them', async () => {
    const { adapter } = await trained({ targetModules: ['q'], r: 4 });
    const sites = new Map([['m.0.q', { in: 4, out: 5 }]]);
    expect(await messageOf(() => slotValues(adapter, sites, { rank: 3 }))).toContain('needs rank 4');
    expect(await messageOf(() => slotValues(adapter, new Map(), { rank: 4 }))).toContain('has no slot');
    expect(
      await messageOf(async () =>
        slotValues(await mixed(1), new Map(chainTargets(parameters).map((t) => [t.path, t])), { rank: 9 }),
      ),
    ).toContain('DELTA_CONFLICT');
  });
});
