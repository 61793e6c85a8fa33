import { elementCount } from '@peftjs/core';
import type { Merge } from '../define.js';
import { within } from '../select.js';
import type { Executor } from './execute.js';
import { addAnswers, type Reducers, resolveReducers } from './measure.js';
import { contextOf, inScope, nextRound } from './perform.js';
import { atStart, type Finished, type Progress, type Task } from './task.js';

const countOf = ({ shape }: Task): number => elementCount(shape);

/** The results of one round for all tasks that wait for it. */
async function round(executor: Executor, merge: Merge, waiting: readonly (readonly [Task, Progress])[]) {
  const asked = waiting.map(([task, progress]) =>
    merge.stats![progress.round]!(contextOf(task, countOf(task), progress)),
  );
  // Scopes over all tensors: elements are numbered through in the order of the paths.
  const order = waiting.map((_, i) => i).sort((a, b) => (waiting[a]![0].tensor < waiting[b]![0].tensor ? -1 : 1));
  const starts: number[] = [];
  let count = 0;
  for (const i of order) {
    starts[i] = count;
    count += countOf(waiting[i]![0]);
  }
  const shared: Reducers = inScope(asked[order[0]!]!, 'model');
  const pass = async (ask: Parameters<Parameters<typeof resolveReducers>[2]>[0]) => {
    const parts = await Promise.all(order.map((i) => executor.measure(merge, ...waiting[i]!, ask, starts[i]!)));
    return addAnswers(parts);
  };
  const found = await resolveReducers(shared, count, pass);
  return Promise.all(
    waiting.map(async ([task, progress], i): Promise<readonly [Task, Progress]> => {
      const own = inScope(asked[i]!, 'tensor');
      const alone = await resolveReducers(own, countOf(task), (ask) => executor.measure(merge, task, progress, ask, 0));
      const selections = Object.entries(found.selections).map(([name, s]) => [name, within(s, starts[i]!)] as const);
      return [
        task,
        nextRound(progress, {
          numbers: { ...found.numbers, ...alone.numbers },
          selections: { ...Object.fromEntries(selections), ...alone.selections },
        }),
      ];
    }),
  );
}

/**
 * Performs all tasks, large ones first. Where a method asks for something over all tensors, they wait for each other.
 * The result does not depend on who performs what, and in which order.
 */
export async function performAll(
  executor: Executor,
  merge: Merge,
  tasks: readonly Task[],
  onDone: (task: Task, outcome: Finished) => void,
): Promise<void> {
  let open = [...tasks]
    .sort((a, b) => countOf(b) - countOf(a))
    .map((task): readonly [Task, Progress] => [task, atStart]);
  while (open.length > 0) {
    const waiting: (readonly [Task, Progress])[] = [];
    await Promise.all(
      open.map(async ([task, progress]) => {
        const outcome = await executor.perform(merge, task, progress);
        if (outcome.done) onDone(task, outcome);
        else waiting.push([task, { round: outcome.round, stats: outcome.stats }]);
      }),
    );
    open = waiting.length > 0 ? await round(executor, merge, waiting) : [];
  }
}
