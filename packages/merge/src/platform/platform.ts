import type { Executor } from '../engine/execute.js';
import type { Files } from './files.js';

/** What differs between Node and a page. */
export interface Platform {
  /** Processors; 1 where there are no threads. */
  readonly processors: number;
  /** Absent where there are no files. */
  readonly files?: Files;
  /** An executor in other threads. Absent where this thread is one already, and in a page. */
  readonly startThreads?: (threads: number) => Executor;
}
