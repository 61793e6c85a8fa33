import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { expectClose, expectPeftError, referenceBackend } from '../../testkit/src/index.js';
import {
  applyAdapter,
  attachMethod,
  type BindModel,
  bindMethod,
  createGraph,
  createOps,
  createRandom,
  defineMethod,
  gradients,
  lowRankTerm,
  type ModelGraph,
  type Plan,
  promoteWeight,
  resumeTensors,
  type ShapedValue,
  type Site,
  startTensors,
  type Target,
  type Tensor,
  type TensorRef,
  tensorRef,
  toAdapter,
  tokenRowsName,
} from '../src/index.js';
import { nextStart } from '../src/train/next-phase.js';

const [vocabulary, width, positions] = [6, 3, 2];
const rng = createRandom(9);
const table = tensorRef(rng.fork('table').normal([vocabulary, width]));
const places = tensorRef(rng.fork('places').normal([positions, width]));
const mix = tensorRef(rng.fork('mix').normal([width, width]));

const target = (path: string, kind: Target['kind'], sizes: [number, number], weight: TensorRef): Target => ({
  path,
  kind,
  in: sizes[0],
  out: sizes[1],
  parameters: { weight },
});
const targets = [
  target('model.tokens', 'embedding', [vocabulary, width], table),
  target('model.places', 'embedding', [positions, width], places),
  target('model.mix', 'linear', [width, width], mix),
  target('head', 'linear', [width, vocabulary], table), // tied
];
const parameters = new Map([
  ['model.tokens.weight', table],
  ['model.places.weight', places],
  ['model.mix.weight', mix],
  ['head.weight', table],
]);
const model: BindModel = { targets, parameters };

/** logits = mix(tokens[ids]) tokensᵀ: one table at both ends. */
function graphOf(weights: ReadonlyMap<string, TensorRef> = parameters) {
  const graph = createGraph('tied');
  const ops = createOps(graph);
  const ids = ops.input('ids', 'i64', ['rows']);
  const e = ops.weight('model.tokens.weight', weights.get('model.tokens.weight')!);
  const x = ops.gather(e, ids);
  const h = ops.gemm(x, ops.weight('model.mix.weight', weights.get('model.mix.weight')!), undefined, { transB: true });
  const y = ops.gemm(h, e, undefined, { transB: true });
  const [tokens, , mixing, head] = targets as [Target, Target, Target, Target];
  const sites = new Map<string, Site>([
    [tokens.path, { target: tokens, x: ids, y: x }],
    [mixing.path, { target: mixing, x, y: h }],
    [head.path, { target: head, x: h, y }],
  ]);
  return { graph, sites, outputs: { logits: y } } satisfies ModelGraph;
}

const plain = defineMethod({
  spec: 'v1',
  name: 'plain',
  paper: 'https://arxiv.org/abs/2106.09685',
  layout: 'LORA',
  additive: true,
  kinds: ['linear', 'embedding'],
  config: z.strictObject({ r: z.number().default(1) }),
  init: ({ in: inside, out }, _, random) => ({
    train: { a: random.fork('a').normal([1, inside]), b: random.fork('b').normal([out, 1]) },
  }),
  delta: ({ p }, ops) => ops.matmul(p.b!, p.a!),
  toDelta: ({ p }) => ({ weight: lowRankTerm({ a: tensorRef(p.a!), b: tensorRef(p.b!) }, { scale: 1 }) }),
  fromDelta: async ({ terms }) => ({
    a: await terms.weight!.tensors.a!.read(),
    b: await terms.weight!.tensors.b!.read(),
  }),
  next: async ({ sites }) => ({ sites: new Map(sites.map(({ target: { path }, p }) => [path, { train: p }])) }),
  size: (t) => t.in + t.out,
});

const bind = (options: object = {}) =>
  bindMethod(plain({ targetModules: ['mix'], trainableTokenIndices: { tokens: [4, 1] }, ...options }), model);
const changed = async (plan: Plan) => {
  const start = await startTensors(plan, { seed: 1, parameters });
  const values = rng.fork('new').normal([2, width]);
  return { ...start, train: new Map([...start.train, ['model.tokens:tokens', values] as const]) };
};
const ids: Tensor = { dtype: 'i64', shape: [4], data: BigInt64Array.of(1n, 0n, 4n, 1n) };

async function run(made: ModelGraph, feeds: Readonly<Record<string, Tensor>>, outputs?: string[]) {
  const program = await referenceBackend().compile(made.graph, { outputs: outputs ?? [made.outputs.logits!.name] });
  return program.run({ ids, ...feeds });
}

describe('trainable tokens', () => {
  it('start at the rows of the table, in ascending order, and count as trained', async () => {
    const plan = bind();
    const start = await startTensors(plan, { seed: 1, parameters });
    const whole = (await table.read()).data as Float32Array;
    expect(start.train.get('model.tokens:tokens')).toMatchObject({
      shape: [2, width],
      data: Float32Array.of(...whole.subarray(3, 6), ...whole.subarray(12, 15)),
    });
    expect(plan.size).toBe(2 * width + 2 * width);
    expect(plan.tokens.map(tokenRowsName)).toEqual(['model.tokens:tokens']);
  });

  it('belong to the first embedding when no name is given', () => {
    expect(bind({ trainableTokenIndices: [2] }).tokens.map(({ target: { path } }) => path)).toEqual(['model.tokens']);
    const both = bind({ trainableTokenIndices: { tokens: [0], places: [1] } });
    expect(both.tokens.map(({ target: { path } }) => path)).toEqual(['model.tokens', 'model.places']);
  });

  it('stand in the embedding and in the head tied to it, as the merged table does', async () => {
    const plan = bind();
    const start = await changed(plan);
    const { model: attached } = attachMethod(graphOf(), plan, start, { training: true });
    const got = await run(attached, Object.fromEntries(start.train));
    const adapter = await toAdapter(plan, start, { parameters });
    expect(adapter.delta.params.get('model.tokens.weight')![0]!.kind).toBe('rows');
    const merged = applyAdapter(parameters, adapter).parameters;
    const expected = await run(graphOf(merged), {});
    expectClose('logits', Object.values(got)[0]!, Object.values(expected)[0]!, { relToMax: 1e-6 });
    const base = Object.values(await run(graphOf(), {}))[0]!;
    expect(base.data).not.toEqual(Object.values(expected)[0]!.data);
  });

  it('get the gradient that these rows of the whole table have, from both ends', async () => {
    const plan = bind();
    const start = await startTensors(plan, { seed: 1, parameters });
    const loss = ({ graph, outputs }: ModelGraph, of: ShapedValue) => {
      const ops = createOps(graph);
      const y = outputs.logits!;
      ops.output(gradients(graph, ops.sum(ops.mul(y, y), [0, 1], { keepdims: false }), [of])[0]!, 'slope');
    };
    const own = attachMethod(graphOf(), plan, start, { training: true });
    loss(own.model, own.trainables.find(({ name }) => name === 'model.tokens:tokens')!.value);
    const { slope } = await run(own.model, Object.fromEntries(start.train), ['slope']);

    const whole = attachMethod(graphOf(), bind({ trainableTokenIndices: undefined }), start, { training: true });
    loss(whole.model, promoteWeight(whole.model.graph, 'model.tokens.weight') as ShapedValue);
    const feeds = { ...Object.fromEntries(start.train), 'model.tokens.weight': await table.read() };
    const { slope: all } = await run(whole.model, feeds, ['slope']);
    const rows = [1, 4].flatMap((k) => [...(all!.data as Float32Array).subarray(k * width, (k + 1) * width)]);
    expectClose('gradient', slope!, { ...slope!, data: Float32Array.from(rows) }, { relToMax: 1e-6 });
  });

  it('go on from what was saved, and from one phase to the next', async () => {
    const plan = bind();
    const start = await changed(plan);
    const adapter = await toAdapter(plan, start, { parameters });
    expect((await resumeTensors(plan, adapter, { seed: 2, parameters })).train).toEqual(start.train);
    const next = await nextStart(
      { plan, start } as unknown as Parameters<typeof nextStart>[0],
      { parameters } as unknown as Parameters<typeof nextStart>[1],
      { phase: 1, start, train: start.train, held: new Map(), kept: new Map(), state: new Map(), seed: 0 },
    );
    expect(next.train.get('model.tokens:tokens')).toBe(start.train.get('model.tokens:tokens'));
    await expectPeftError(
      () => resumeTensors(bind({ trainableTokenIndices: [0] }), adapter, { seed: 2, parameters }),
      ['ADAPTER_MISMATCH'],
      ['rows 1,4', 'trains 0'],
    );
  });

  it('are refused, all reasons at once, where they have no meaning', async () => {
    await expectPeftError(
      () => bind({ trainableTokenIndices: { tokenz: [0], places: [0, 2], tokens: [1, 1] } }),
      ['CONFIG_INVALID'],
      ['"tokenz"', 'near: tokens', 'outside 0 to 1', 'there twice'],
    );
    await expectPeftError(() => bind({ targetModules: ['tokens'] }), ['CONFIG_INVALID'], ['"model.tokens"']);
    await expectPeftError(() => bind({ targetModules: ['head'] }), ['CONFIG_INVALID'], ['"head"']);
    await expectPeftError(() => bind({ modulesToSave: ['tokens'] }), ['CONFIG_INVALID'], ['trained otherwise']);
    await expectPeftError(() => bind({ trainableTokenIndices: [] }), ['CONFIG_INVALID'], ['trainableTokenIndices']);
  });
});
