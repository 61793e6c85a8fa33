import { PeftError } from '../errors.js';

/** The calls of one program, one after another: a run must see the state that the one before it left. */
export interface Turns {
  /** @throws PeftError CONFIG_INVALID after `close` */
  take<T>(work: () => Promise<T> | T): Promise<T>;
  /** Waits for the calls made so far, then releases, once. */
  close(release: () => Promise<void> | void): Promise<void>;
}

/** @param graph what messages call the graph */
export function createTurns(graph: string): Turns {
  let last: Promise<unknown> = Promise.resolve();
  let closed = false;
  return {
    take(work) {
      const turn = last.then(() => {
        if (!closed) return work();
        throw new PeftError('CONFIG_INVALID', `The program of graph "${graph}" has been disposed: compile it again.`);
      });
      last = turn.catch(() => {});
      return turn;
    },
    async close(release) {
      await last;
      if (closed) return;
      closed = true;
      await release();
    },
  };
}
