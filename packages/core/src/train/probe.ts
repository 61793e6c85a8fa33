import type { ModelGraph } from '../adapter/target.js';
import type { Backend, Feeds } from '../backend/backend.js';
import { compileGraph } from '../backend/compile.js';
import { PeftError } from '../errors.js';
import type { ShapedValue } from '../graph/graph.js';
import { createOps } from '../graph/ops.js';
import { batchFeeds } from './batch-feeds.js';
import { loadBatch } from './load-batch.js';
import type { Example, Task } from './model.js';
import { lossName } from './step-graph.js';
import { feedsOf, numberOf } from './stepper.js';

/** The loss of chosen training rows, for methods that try things out. */
export interface Probe {
  /** The loss of the rows with these numbers. */
  loss(indices: readonly number[], inputs: Feeds): Promise<number>;
  dispose(): Promise<void>;
}

/** Compiles a training graph without its gradient, which it changes. */
export async function createProbe<E extends Example>(
  model: ModelGraph & { readonly loss?: ShapedValue },
  parts: { readonly task: Task<E>; readonly examples: readonly E[]; readonly backend: Backend },
): Promise<Probe> {
  const { task, examples, backend } = parts;
  const { graph, loss } = model;
  if (!loss) throw new PeftError('INTERNAL', 'A training graph without a loss cannot be probed.');
  graph.outputs.length = 0;
  if (loss.name === lossName) graph.outputs.push(loss);
  else createOps(graph).output(loss, lossName);
  const program = await compileGraph(backend, graph, { outputs: [lossName], purpose: 'train' });
  return {
    async loss(indices, inputs) {
      const batch = await loadBatch(task, examples, indices);
      return numberOf((await program.run(feedsOf(graph, { ...batchFeeds(batch), ...inputs })))[lossName]);
    },
    dispose: () => program.dispose(),
  };
}
