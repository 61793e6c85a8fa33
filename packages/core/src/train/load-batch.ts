import type { Batch, Example, Task } from './model.js';

/** The batch of the examples with these numbers, with what the task fetches for them. */
export async function loadBatch<E extends Example>(
  task: Task<E>,
  examples: readonly E[],
  indices: readonly number[],
  options?: { labels?: boolean },
): Promise<Batch> {
  const chosen = indices.map((i) => examples[i]!);
  return task.batch((await task.load?.(chosen)) ?? chosen, indices, options);
}
