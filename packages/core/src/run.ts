import { PeftError } from './errors.js';

/**
 * A long call: cold, iterated once, not thenable. `for await` sees its events; leaving the loop or `cancel` ends the
 * work cleanly; `result()` runs it to the end and gives what it made.
 */
export interface Run<E extends { type: string }, R> extends AsyncIterable<E> {
  result(): Promise<R>;
  cancel(reason?: unknown): void;
}

/** Makes a Run of a generator that yields events and returns the result. Its `finally` blocks run on every exit. */
export function createRun<E extends { type: string }, R>(
  start: (signal: AbortSignal) => AsyncGenerator<E, R, void>,
  signal?: AbortSignal,
): Run<E, R> {
  const controller = new AbortController();
  const abort = () => controller.abort(signal?.reason);
  if (signal?.aborted) abort();
  else signal?.addEventListener('abort', abort, { once: true });

  let state: 'cold' | 'running' | 'left' | 'done' = 'cold';
  let outcome: Promise<R> | undefined;
  let settle: { resolve(value: R): void; reject(reason: unknown): void };

  async function* iterate(): AsyncGenerator<E, void, void> {
    if (state !== 'cold') throw new PeftError('CONFIG_INVALID', 'A run can be iterated only once. Start a new one.');
    state = 'running';
    outcome = new Promise<R>((resolve, reject) => {
      settle = { resolve, reject };
    });
    outcome.catch(() => {}); // the failure also reaches whoever iterates
    const work = start(controller.signal);
    try {
      for (;;) {
        const next = await work.next();
        if (next.done) {
          state = 'done';
          settle!.resolve(next.value);
          return;
        }
        yield next.value;
      }
    } catch (error) {
      state = 'done';
      settle!.reject(error);
      throw error;
    } finally {
      if (state === 'running') {
        state = 'left';
        controller.abort();
        await work.return(undefined as R).catch(() => {});
        settle!.reject(new PeftError('CANCELLED', 'The run was left before its end.'));
      }
      signal?.removeEventListener('abort', abort);
    }
  }

  const events = iterate();
  return {
    [Symbol.asyncIterator]: () => events,
    cancel: (reason) => controller.abort(reason),
    async result() {
      if (!outcome) for await (const _ of events);
      return outcome!;
    },
  };
}
