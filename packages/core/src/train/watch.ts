import { PeftError } from '../errors.js';
import type { PrepareEvent } from './events.js';

/** Milliseconds between two reports; what takes less is not reported. */
const pause = 1000;

/** Given to work that is long for large data: where it can stop, and how it tells how far it is. */
export interface Watch {
  readonly signal: AbortSignal;
  /**
   * @param what what is being done: `reading the training data`
   * @param done how much of it, of `total` where that is known
   * @throws PeftError CANCELLED after an abort
   */
  at(what: string, done: number, total?: number): Promise<void>;
}

/** Does the work, gives what it returns, and meanwhile yields what it reports. */
export async function* watched<T>(
  signal: AbortSignal,
  work: (watch: Watch) => Promise<T>,
): AsyncGenerator<PrepareEvent, T, void> {
  const reports: PrepareEvent[] = [];
  let reported = performance.now();
  let over = false;
  let wake = () => {};

  async function at(what: string, done: number, total?: number): Promise<void> {
    if (signal.aborted)
      throw new PeftError('CANCELLED', `The training was cancelled while ${what}.`, { cause: signal.reason });
    if (performance.now() - reported < pause) return;
    reported = performance.now();
    reports.push({ type: 'prepare', what, done, ...(total !== undefined && { total }) });
    wake();
    await new Promise((resolve) => setTimeout(resolve)); // Ctrl-C is heard between two turns of the event loop
  }

  const working = work({ signal, at }).finally(() => {
    over = true;
    wake();
  });
  working.catch(() => {}); // a failure is thrown once the reports before it have been read
  try {
    while (!over) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (reports.length > 0) resolve();
      });
      yield* reports.splice(0);
    }
    return await working;
  } finally {
    await working.catch(() => {}); // left in between: what it has compiled is released
  }
}
