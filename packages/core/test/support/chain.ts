import { referenceBackend } from '../../../testkit/src/reference/backend.js';
import {
  createGraph,
  createOps,
  createRandom,
  type Feeds,
  type ModelGraph,
  type ShapedValue,
  type Site,
  type Target,
  type Tensor,
  type TensorRef,
  tensorRef,
} from '../../src/index.js';

/** One target of each kind, one straight into the next, so that an adapter's output is another adapter's input. */
const modules = {
  'm.embed': { kind: 'embedding', in: 7, out: 4, shape: [7, 4], bias: false },
  'm.0.q': { kind: 'linear', in: 4, out: 5, shape: [5, 4], bias: true },
  'm.0.mix': { kind: 'conv1d', in: 5, out: 6, shape: [5, 6], bias: true },
  head: { kind: 'linear', in: 6, out: 3, shape: [3, 6], bias: false },
} as const;

export const chainParameters = (): Map<string, TensorRef> => {
  const random = createRandom(11);
  const parameters = new Map<string, TensorRef>();
  for (const [path, { shape, bias, out }] of Object.entries(modules)) {
    parameters.set(`${path}.weight`, tensorRef(random.fork(path).normal(shape, 0, 0.5)));
    if (bias) parameters.set(`${path}.bias`, tensorRef(random.fork(path, 'bias').normal([out], 0, 0.5)));
  }
  parameters.set('unused.bias', tensorRef(random.fork('unused').normal([2])));
  return parameters;
};

export function chainTargets(parameters: ReadonlyMap<string, TensorRef>): Target[] {
  return Object.entries(modules).map(([path, { kind, in: inside, out }]) => ({
    kind,
    path,
    in: inside,
    out,
    head: path === 'head',
    parameters: Object.fromEntries(
      ['weight', 'bias'].flatMap((name) => {
        const ref = parameters.get(`${path}.${name}`);
        return ref ? [[name, ref]] : [];
      }),
    ),
  }));
}

/** input_ids i64 [batch, length] -> logits [batch*length, 3]. */
export function chainGraph(parameters: ReadonlyMap<string, TensorRef>): ModelGraph {
  const graph = createGraph('chain');
  const ops = createOps(graph);
  const ids = ops.input('input_ids', 'i64', ['batch', 'length']);
  const sites = new Map<string, Site>();
  let x: ShapedValue = ids;
  for (const target of chainTargets(parameters)) {
    const w = ops.weight(`${target.path}.weight`, parameters.get(`${target.path}.weight`)!);
    const bias = parameters.get(`${target.path}.bias`);
    const b = bias && ops.weight(`${target.path}.bias`, bias);
    const y: ShapedValue =
      target.kind === 'embedding'
        ? ops.reshape(ops.gather(w, x), ['batch*length', target.out])
        : ops.gemm(x, w, b, { transB: target.kind === 'linear' });
    sites.set(target.path, { target, x, y });
    x = y;
  }
  return { graph, sites, outputs: { logits: ops.output(x, 'logits') } };
}

export const ids: Tensor = { dtype: 'i64', shape: [2, 3], data: BigInt64Array.of(0n, 6n, 2n, 5n, 1n, 1n) };

/** The logits of a model with the reference backend. */
export async function runChain(model: ModelGraph, feeds: Feeds = {}): Promise<Tensor> {
  const backend = referenceBackend({ wide: true });
  const program = await backend.compile(model.graph);
  const { logits } = await program.run({ input_ids: ids, ...feeds });
  await program.dispose();
  return logits!;
}
