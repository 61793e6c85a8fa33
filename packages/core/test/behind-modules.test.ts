import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { referenceBackend } from '../../testkit/src/index.js';
import {
  type Adapter,
  attachDelta,
  attachMethod,
  bindMethod,
  contentDigest,
  createGraph,
  createOps,
  defineKind,
  defineMethod,
  denseTerm,
  f32,
  gradients,
  type ModelGraph,
  notAdditive,
  PeftError,
  resumeTensors,
  type Site,
  startTensors,
  type Target,
  type Tensor,
  type Term,
  tensorRef,
  toAdapter,
  withKinds,
} from '../src/index.js';

const values = (tensor: Tensor) => Array.from(tensor.data as Float32Array);
const vector = (...list: number[]) => f32([list.length], list);

/** y = g ⊙ (x Wᵀ + b), W the unit matrix: a linear layer and a norm without its normalization. */
function layered() {
  const parameters = new Map(
    Object.entries({
      'lin.weight': f32([2, 2], [1, 0, 0, 1]),
      'lin.bias': vector(10, 20),
      'norm.weight': vector(2, 3),
    }).map(([path, tensor]) => [path, tensorRef(tensor)]),
  );
  const graph = createGraph('layered');
  const ops = createOps(graph);
  const weight = (path: string) => ops.weight(path, parameters.get(path)!);
  const x = ops.input('x', 'f32', ['rows', 2]);
  const h = ops.gemm(x, weight('lin.weight'), weight('lin.bias'), { transB: true });
  const y = ops.output(ops.mul(h, weight('norm.weight')), 'y');
  const target: Target = {
    kind: 'linear',
    path: 'lin',
    in: 2,
    out: 2,
    parameters: { weight: parameters.get('lin.weight')!, bias: parameters.get('lin.bias')! },
  };
  const sites = new Map<string, Site>([['lin', { target, x, y: h }]]);
  const model: ModelGraph = { graph, sites, outputs: { y } };
  return { model, parameters, targets: [target] };
}

async function ran(model: ModelGraph, feeds: Readonly<Record<string, Tensor>> = {}): Promise<number[]> {
  const name = model.outputs.y!.name;
  const program = await referenceBackend().compile(model.graph, { outputs: [name] });
  const outputs = await program.run({ x: f32([1, 2], [1, 2]), ...feeds });
  await program.dispose();
  return values(outputs[name]!);
}

/** What leaves a module becomes its square: nothing that a weight could hold. */
const square = defineKind({
  spec: 'v1',
  kind: 'square',
  ...notAdditive('square'),
  mergeable: false,
  async apply() {
    throw new PeftError('DELTA_CONFLICT', 'A square is no weight.');
  },
  bytes: () => 0,
  problems: () => [],
  async attach({ x, bias, before }, ops) {
    const z = await before(x);
    const h = bias ? ops.add(z, bias) : z;
    const squared = ops.mul(h, h);
    return bias ? ops.sub(squared, bias) : squared;
  },
});

async function adapterOf(params: Readonly<Record<string, readonly Term[]>>): Promise<Adapter> {
  const shape = new Map([
    ['lin.weight', [2, 2]],
    ['lin.bias', [2]],
  ]);
  const delta = { shape, params: new Map(Object.entries(params)) };
  return { delta, replaced: new Map(), digest: await contentDigest({ delta, replaced: new Map() }) };
}

/** Adds v to what leaves a linear layer, u to a norm, and a shared number to both. */
const both = defineMethod({
  spec: 'v1',
  name: 'behind-test',
  paper: 'https://example.org',
  layout: 'PEFTJS',
  additive: false,
  kinds: ['linear', 'vector'],
  config: z.strictObject({}),
  defaults: { targetModules: 'all' },
  init: ({ kind }) => ({ train: { [kind === 'vector' ? 'weight' : 'v']: vector(0, 0) } }),
  shared: () => ({ train: { all: vector(0) } }),
  weight: ({ W, p, name }, ops) => (p[name] ? ops.add(ops.add(W, p[name]), p.all!) : W),
  rewrite: ({ y, p }, ops) => ops.add(ops.add(y, p.v!), p.all!),
  toDelta({ p, target }): Record<string, Term> {
    if (target.kind === 'vector') return { weight: denseTerm(tensorRef(p.weight!)) };
    const tensors = { delta: tensorRef(p.v!), all: tensorRef(p.all!) };
    return { bias: { kind: 'dense', tensors, meta: { scale: 1 } } };
  },
  async fromDelta({ terms, target }): Promise<Record<string, Tensor>> {
    if (target.kind === 'vector') return { weight: await terms.weight!.tensors.delta!.read() };
    const { delta, all } = terms.bias!.tensors;
    return { v: await delta!.read(), all: await all!.read() };
  },
  size: () => 2,
  sharedSize: () => 1,
});

describe('changes behind modules', () => {
  it('shows a kind the bias of its module, as the adapter leaves it', async () => {
    const kinds = withKinds(square);
    const term: Term = { kind: 'square', tensors: {}, meta: {} };
    const alone = await attachDelta(layered().model, await adapterOf({ 'lin.weight': [term] }), { kinds });
    expect(await ran(alone)).toEqual([2 * 11 ** 2, 3 * 22 ** 2]);
    const more = { 'lin.weight': [term], 'lin.bias': [denseTerm(tensorRef(vector(-9, -19)))] };
    expect(await ran(await attachDelta(layered().model, await adapterOf(more), { kinds }))).toEqual([2 * 4, 3 * 9]);
  });

  it('lets a method rewrite what leaves modules and change norms beside', async () => {
    const { model, parameters, targets } = layered();
    const plan = bindMethod(both(), { targets, parameters });
    const start = await startTensors(plan, { seed: 0, parameters });
    const attached = attachMethod(model, plan, start, { training: false });
    expect(attached.trainables.map(({ name }) => name).sort()).toEqual(['*:all', 'lin:v', 'norm:weight']);
    const feeds = { '*:all': vector(1), 'lin:v': vector(2, 3), 'norm:weight': vector(4, 5) };
    expect(await ran(attached.model, feeds)).toEqual([(2 + 4 + 1) * (11 + 2 + 1), (3 + 5 + 1) * (22 + 3 + 1)]);
  });

  it('goes on from an adapter with tensors that targets share', async () => {
    const { parameters, targets } = layered();
    const plan = bindMethod(both(), { targets, parameters });
    const start = await startTensors(plan, { seed: 0, parameters });
    const train = new Map<string, Tensor>([
      ['*:all', vector(7)],
      ['lin:v', vector(1, 2)],
      ['norm:weight', vector(3, 4)],
    ]);
    const adapter = await toAdapter(plan, { ...start, train }, { parameters });
    const resumed = await resumeTensors(plan, adapter, { seed: 0, parameters });
    for (const [name, tensor] of train) expect(values(resumed.train.get(name)!), name).toEqual(values(tensor));
  });

  it('carries gradients to the inputs of a macro through nodes of any type', async () => {
    const graph = createGraph('choice');
    const ops = createOps(graph);
    const x = ops.input('x', 'f32', [3]);
    const mask = ops.cast(ops.equal(ops.argmax(x, 0), ops.range(3)), 'f32');
    const straight = ops.macro(mask, [x], (d) => [d]);
    const loss = ops.sum(ops.mul(straight, x), [0], { keepdims: false });
    ops.output(gradients(graph, loss, [x])[0]!, 'slope');
    const program = await referenceBackend().compile(graph);
    const { slope } = await program.run({ x: vector(1, 5, 2) });
    await program.dispose();
    // d (m ⊙ x) = m + x, straight through.
    expect(values(slope!)).toEqual([1, 6, 2]);
  });
});
