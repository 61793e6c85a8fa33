import type { Merge } from '../define.js';
import type { Files } from '../platform/files.js';
import type { Answers, Asked } from './measure.js';
import { measureTask, perform } from './perform.js';
import type { Finished, Outcome, Progress, Task } from './task.js';
import { performWhole } from './whole.js';

/** Whoever computes: this thread, or several others. Calls wait for their turn. */
export interface Executor {
  perform(merge: Merge, task: Task, progress: Progress): Promise<Outcome>;
  measure(merge: Merge, task: Task, progress: Progress, asked: Asked, origin: number): Promise<Answers>;
  whole(merge: Merge, tasks: readonly Task[]): Promise<readonly Finished[]>;
  /** Ends what runs, at once. */
  dispose(): Promise<void>;
}

/** Computes in this thread, one call after the other. */
export function localExecutor(files: Files | undefined): Executor {
  let turn: Promise<unknown> = Promise.resolve();
  let disposed = false;
  const queued = <T>(call: () => Promise<T>): Promise<T> => {
    const mine = turn.then(async () => {
      // Between two tasks everything else gets its turn.
      await new Promise((resolve) => setTimeout(resolve, 0));
      if (disposed) throw new Error('The executor is gone.');
      return call();
    });
    turn = mine.catch(() => {});
    return mine;
  };
  return {
    perform: (merge, task, progress) => queued(() => perform(merge, task, progress, files)),
    measure: (merge, task, progress, asked, origin) =>
      queued(() => measureTask(merge, task, progress, asked, origin, files)),
    whole: (merge, tasks) => queued(() => performWhole(merge, tasks, files)),
    async dispose() {
      disposed = true;
      await turn;
    },
  };
}
