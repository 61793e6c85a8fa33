import type { TextStream } from '@peftjs/models';

/** Text on its way to a client, searched for stop strings. */
export interface Stopper {
  /** What can be sent on; text that may be the beginning of a stop string is held back. */
  push(text: string): { readonly text: string; readonly stopped: boolean };
  /** What was held back when generation ended for another reason. */
  flush(): string;
}

/** Finds the first of `stops` in a stream of text; the stop string itself and what follows are not part of the text. */
export function createStopper(stops: readonly string[]): Stopper {
  let held = '';
  return {
    push(text) {
      held += text;
      const found = stops.map((stop) => held.indexOf(stop)).filter((at) => at >= 0);
      if (found.length > 0) {
        const before = held.slice(0, Math.min(...found));
        held = '';
        return { text: before, stopped: true };
      }
      let keep = 0;
      for (const stop of stops) {
        for (let n = Math.min(stop.length - 1, held.length); n > keep; n--)
          if (held.endsWith(stop.slice(0, n))) keep = n;
      }
      const ready = held.slice(0, held.length - keep);
      held = held.slice(held.length - keep);
      return { text: ready, stopped: false };
    },
    flush() {
      const rest = held;
      held = '';
      return rest;
    },
  };
}

/** The text of one sequence as its tokens arrive. */
export interface Writer {
  /**
   * @param token undefined for an end token, which has no text
   * @param last no token follows: nothing is held back any more
   */
  push(token: number | undefined, last: boolean): { readonly text: string; readonly stopped: boolean };
}

/** Joins a tokenizer's stream (absent for models without one) and the search for stop strings. */
export function createWriter(stream: TextStream | undefined, stops: readonly string[]): Writer {
  const stopper = createStopper(stops);
  return {
    push(token, last) {
      const text = token === undefined ? '' : (stream?.push(token) ?? '');
      const found = stopper.push(last ? text + (stream?.end() ?? '') : text);
      return found.stopped || !last ? found : { text: found.text + stopper.flush(), stopped: false };
    },
  };
}
