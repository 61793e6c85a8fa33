import {
  alloc,
  type Backend,
  compileGraph,
  createOps,
  type Delta,
  type Example,
  type Kinds,
  prune,
  type Rows,
  type ShapedValue,
  type Site,
  type TaskModel,
  type TensorRef,
} from '@peftjs/core';
import { batchesOf, feedsFor, putUpdate, rowMask } from '../calibrate/model.js';
import { requireRunning } from '../cancelled.js';

/** What the compressor asks of a model: second moments of what enters its layers, as they are at the moment. */
export interface Calibration {
  readonly spec: 'v1';
  /** Parameters in the order of the model, those of one layer together; parameters that are no layer's weight are left out. */
  groups(paths: readonly string[]): readonly (readonly string[])[];
  /** Whether the weight lies as (in, out). */
  isTransposed(path: string): boolean;
  /**
   * Σ x xᵀ over the inputs of each of these weights, n × n, in the base with `delta` in it.
   * @throws PeftError DATA_INVALID, CANCELLED
   */
  moments(
    paths: readonly string[],
    delta: Delta,
    kinds: Kinds,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, Float64Array>>;
}

export interface CalibrationOptions {
  /** Rows in the columns of the model's task: a few hundred are enough. */
  readonly data: Rows;
  readonly backend: Backend;
  readonly batchSize?: number;
  /** Parameters that the adapter saves in full. */
  readonly replaced?: ReadonlyMap<string, TensorRef>;
}

const moduleOf = (path: string): string => path.slice(0, path.lastIndexOf('.'));

/**
 * Calibration on a model: the activations are those of the fine-tuned model whose earlier layers are compressed already,
 * so that later layers make up for what earlier ones lost.
 * @throws PeftError DATA_INVALID for rows that the task cannot use
 */
export async function calibration<E extends Example>(
  model: TaskModel<E>,
  { data, backend, batchSize = 4, replaced = new Map() }: CalibrationOptions,
): Promise<Calibration> {
  const batches = await batchesOf(model, data, batchSize);
  const { sites } = model.graph('predict');
  const siteOf = (path: string): Site | undefined => {
    const site = path.endsWith('.weight') ? sites.get(moduleOf(path)) : undefined;
    return site && (site.target.kind === 'linear' || site.target.kind === 'conv1d') ? site : undefined;
  };
  return {
    spec: 'v1',
    isTransposed: (path) => siteOf(path)?.target.kind === 'conv1d',
    groups(paths) {
      const wanted = new Set(paths);
      const groups = new Map<string, string[]>();
      for (const [module, { target }] of sites) {
        const path = `${module}.weight`;
        if (!wanted.has(path) || !siteOf(path)) continue;
        const key = target.layer === undefined ? module : `layer ${target.layer}`;
        groups.set(key, [...(groups.get(key) ?? []), path]);
      }
      return [...groups.values()];
    },
    async moments(paths, delta, kinds, signal) {
      const built = model.graph('predict');
      putUpdate(built.graph, { delta, replaced }, kinds);
      const xs = new Map(paths.map((path) => [path, built.sites.get(moduleOf(path))!.x]));
      const { graph, carry, extents } = momentsGraph(built.graph, [...new Set(xs.values())]);
      const program = await compileGraph(backend, graph, { carry, ...(signal && { signal }) });
      try {
        for (const [name, n] of extents) await program.write(name, alloc('f32', [n, n]));
        for (const batch of batches) {
          requireRunning(signal, 'The calibration');
          const masks = Object.fromEntries(
            maskInputs(xs.values()).map(([name, extent]) => [name, rowMask(batch, extent)]),
          );
          await program.run(feedsFor(graph, { ...batch.feeds, ...masks }));
        }
        const sums = new Map<string, Float64Array>();
        for (const [path, x] of xs)
          sums.set(path, Float64Array.from((await program.read(momentsName(x))).data as Float32Array));
        return sums;
      } finally {
        await program.dispose();
      }
    },
  };
}

const momentsName = (x: ShapedValue): string => `moments:${x.name}`;
const maskName = (extent: string): string => `tokens:${extent}`;

/** Inputs that say which rows are tokens, by the symbolic row counts of the activations. */
const maskInputs = (xs: Iterable<ShapedValue>): [name: string, extent: string][] => {
  const extents = new Set([...xs].map(({ shape }) => String(shape[0])));
  return [...extents].map((extent) => [maskName(extent), extent]);
};

/** The graph with Σ x xᵀ of each activation [rows, n] as its only outputs, carried from run to run. Changes `graph`. */
function momentsGraph(graph: ReturnType<TaskModel['graph']>['graph'], xs: readonly ShapedValue[]) {
  const ops = createOps(graph);
  graph.outputs.length = 0;
  const masks = new Map(maskInputs(xs).map(([name, extent]) => [extent, ops.input(name, 'f32', [extent, 1])]));
  const carry: Record<string, string> = {};
  const extents = new Map<string, number>();
  for (const x of xs) {
    const n = Number(x.shape[1]);
    const name = momentsName(x);
    const tokens = ops.mul(x, masks.get(String(x.shape[0]))!); // [rows, n]
    const sum = ops.add(ops.input(name, 'f32', [n, n]), ops.gemm(tokens, tokens, undefined, { transA: true }));
    carry[ops.output(sum, `next.${name}`).name] = name;
    extents.set(name, n);
  }
  prune(graph, { inputs: true });
  return { graph, carry, extents };
}
