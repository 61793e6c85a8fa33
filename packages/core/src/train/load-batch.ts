import type { Batch, Example, Task } from './model.js';

/** The batch of some examples, with what the task fetches for them. `indices` are their numbers in the data set. */
export async function loadBatch<E extends Example>(
  task: Task<E>,
  examples: readonly E[],
  indices: readonly number[],
  options?: { labels?: boolean },
): Promise<Batch> {
  return task.batch((await task.load?.(examples)) ?? examples, indices, options);
}
