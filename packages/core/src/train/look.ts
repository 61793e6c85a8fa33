import { baseLook } from '../adapter/base-look.js';
import type { Plan } from '../adapter/bind.js';
import { siteOf } from '../adapter/branch.js';
import type { Look } from '../adapter/method.js';
import { gradients } from '../autodiff/gradients.js';
import type { Backend } from '../backend/backend.js';
import { compileGraph } from '../backend/compile.js';
import type { Adapter } from '../delta/delta.js';
import type { ShapedValue } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import { f32 } from '../tensor/refs.js';
import type { Tensor } from '../tensor/tensor.js';
import { batchFeeds } from './batch-feeds.js';
import { loadBatch } from './load-batch.js';
import type { Batch, Example, TaskModel } from './model.js';
import type { Order } from './order.js';
import { feedsOf } from './stepper.js';
import type { Watch } from './watch.js';

export interface LookParts<E extends Example> {
  readonly model: TaskModel<E>;
  readonly plan: Plan;
  readonly examples: readonly E[];
  readonly order: Order;
  readonly backend: Backend;
  readonly seed: number;
  /** Asked before every batch and every weight. */
  readonly watch?: Watch;
  /** The adapter to go on from. */
  readonly start?: Adapter;
}

/** What a method's plan may look at. Programs are compiled when they are asked for, and released after. */
export function createLook<E extends Example>(parts: LookParts<E>): Look<unknown> {
  const { model, plan, examples, order, backend, seed, watch, start } = parts;
  const { parameters } = model;

  /** Runs the training graph over the first batches with extra outputs. */
  async function* over(
    what: string,
    count: number,
    build: (graph: ReturnType<TaskModel<E>['graph']>, ops: Ops) => ReadonlyMap<string, ShapedValue>,
  ): AsyncGenerator<{ batch: Batch; outputs: ReadonlyMap<string, Tensor> }> {
    const made = model.graph('train');
    const { graph } = made;
    graph.outputs.length = 0;
    const ops = createOps(graph);
    const values = build(made, ops);
    const outputs = new Map<ShapedValue, string>(); // one for targets that share what they read
    for (const [path, value] of values)
      if (!outputs.has(value)) outputs.set(value, ops.output(value, `look.${path}`).name);
    const program = await compileGraph(backend, graph, {
      outputs: [...outputs.values()],
      purpose: 'train',
      ...(watch && { signal: watch.signal }),
    });
    try {
      const all = Array.from({ length: count }, (_, t) => order.update(t).batches).flat();
      for (const [done, indices] of all.slice(0, count).entries()) {
        await watch?.at(`looking at ${what}`, done, count);
        const batch = await loadBatch(model.task, examples, indices);
        const results = await program.run(feedsOf(graph, batchFeeds(batch)));
        yield { batch, outputs: new Map([...values].map(([path, value]) => [path, results[outputs.get(value)!]!])) };
      }
    } finally {
      await program.dispose();
    }
  }

  const base = baseLook({ plan, parameters, seed, ...(start && { start }) });
  let weights = 0;

  return {
    ...base,
    async weight(path) {
      await watch?.at('looking at weights', weights++);
      return base.weight(path);
    },
    async *activations(batches) {
      const inputs = (graph: ReturnType<TaskModel<E>['graph']>) =>
        new Map(plan.sites.map(({ target }) => [target.path, siteOf(graph, target.path).x]));
      const rows = new Map([...inputs(model.graph('train'))].map(([path, x]) => [path, String(x.shape[0])]));
      for await (const { batch, outputs } of over('activations', batches, inputs)) {
        const tokens = new Map([...outputs].map(([path, x]) => [x, withoutPadding(x, batch.rows[rows.get(path)!])]));
        yield new Map([...outputs].map(([path, x]) => [path, tokens.get(x)!]));
      }
    },
    async *gradients(batches) {
      const slopes = (made: ReturnType<TaskModel<E>['graph']>) => {
        const values = plan.sites.flatMap(({ target }) => {
          const W = made.graph.values.get(`${target.path}.weight`) as ShapedValue | undefined;
          return W ? [[target.path, W] as const] : [];
        });
        const all = gradients(
          made.graph,
          made.loss!,
          values.map(([, W]) => W),
        );
        return new Map(values.map(([path], i) => [path, all[i]!]));
      };
      for await (const { outputs } of over('gradients', batches, slopes)) yield outputs;
    },
  };
}

/** The rows that are tokens of samples. */
function withoutPadding(x: Tensor, origins: Batch['rows'][string] | undefined): Tensor {
  if (!origins) return x;
  const width = x.shape.at(-1)!;
  const kept = [...origins.sample.keys()].filter((row) => origins.sample[row]! >= 0);
  if (kept.length === origins.sample.length) return x;
  const data = new Float32Array(kept.length * width);
  const from = x.data as Float32Array;
  kept.forEach((row, i) => {
    data.set(from.subarray(row * width, (row + 1) * width), i * width);
  });
  return f32([kept.length, width], data);
}
