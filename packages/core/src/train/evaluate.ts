import { attachDelta } from '../adapter/attach-delta.js';
import type { Backend, Feeds } from '../backend/backend.js';
import { compileGraph } from '../backend/compile.js';
import type { Adapter } from '../delta/delta.js';
import type { Kinds } from '../delta/registry.js';
import { PeftError } from '../errors.js';
import type { Graph } from '../graph/graph.js';
import { loadData, type Rows } from './data.js';
import { loadBatch } from './load-batch.js';
import type { Example, Task, TaskModel } from './model.js';
import { requireBase } from './require-base.js';
import { feedsOf } from './stepper.js';

/** A compiled model over a data set. */
export interface Evaluator {
  /** The task's metrics over all rows; `parameters` are those that the graph has as inputs. */
  run(parameters: Feeds, signal?: AbortSignal): Promise<Record<string, number>>;
  dispose(): Promise<void>;
}

export interface EvaluatorOptions<E extends Example> {
  readonly task: Task<E>;
  readonly examples: readonly E[];
  readonly backend: Backend;
  readonly batchSize: number;
  readonly signal?: AbortSignal;
}

/** Batches of rows of like length, longest first: little padding, and the largest buffers are made at once. */
function batchesByLength<E extends Example>(examples: readonly E[], batchSize: number): number[][] {
  const order = examples.map((_, i) => i).sort((a, b) => examples[b]!.length - examples[a]!.length || a - b);
  return Array.from({ length: Math.ceil(order.length / batchSize) }, (_, i) =>
    order.slice(i * batchSize, (i + 1) * batchSize),
  );
}

/** Compiles the graph of a model in its form `evaluate`, which it changes. */
export async function createEvaluator<E extends Example>(
  graph: Graph,
  { task, examples, backend, batchSize, signal }: EvaluatorOptions<E>,
): Promise<Evaluator> {
  const program = await compileGraph(backend, graph, { purpose: 'train', ...(signal && { signal }) });
  const batches = batchesByLength(examples, batchSize);
  return {
    async run(parameters, cancel) {
      const metrics = task.metrics();
      for (const indices of batches) {
        if (cancel?.aborted)
          throw new PeftError('CANCELLED', 'The evaluation was cancelled.', { cause: cancel.reason });
        const batch = await loadBatch(task, examples, indices);
        metrics.add(await program.run(feedsOf(graph, { ...batch.feeds, ...parameters })), batch);
      }
      return metrics.result();
    },
    dispose: () => program.dispose(),
  };
}

export interface EvaluateOptions {
  /** Measures the base alone when there is none. */
  readonly adapter?: Adapter;
  /** Kinds of its updates, where they are not all built in. */
  readonly kinds?: Kinds;
  readonly data: Rows;
  readonly backend: Backend;
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/**
 * The task's metrics of a model, with or without an adapter. Rows are sorted by length for speed; the order in which
 * they are given does not change the result.
 * @throws PeftError DATA_INVALID listing rows that cannot be used, ADAPTER_MISMATCH, CANCELLED
 */
export async function evaluate<E extends Example>(
  model: TaskModel<E>,
  options: EvaluateOptions,
): Promise<Record<string, number>> {
  const { adapter, kinds, data, backend, batchSize = 32, signal } = options;
  await requireBase(model, adapter ? [adapter] : []);
  const { examples } = await loadData(data, model.task, 'evaluation data');
  const base = model.graph('evaluate');
  const attaching = { parameters: model.parameters, ...(kinds && { kinds }) };
  const { graph } = adapter ? await attachDelta(base, adapter, attaching) : base;
  const common = { task: model.task, examples, backend, batchSize, ...(signal && { signal }) };
  const evaluator = await createEvaluator(graph, common);
  try {
    return await evaluator.run({}, signal);
  } finally {
    await evaluator.dispose();
  }
}
