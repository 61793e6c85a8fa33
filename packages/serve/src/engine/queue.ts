/** Values from a producer that does not wait to a consumer that does. */
export interface Queue<T> extends AsyncIterable<T> {
  push(value: T): void;
  /** Ends after what was pushed; with an error the consumer gets that. */
  end(error?: unknown): void;
}

export function createQueue<T>(): Queue<T> {
  const values: T[] = [];
  let ended: { readonly error?: unknown } | undefined;
  let wake: (() => void) | undefined;
  const notify = () => {
    wake?.();
    wake = undefined;
  };
  return {
    push(value) {
      values.push(value);
      notify();
    },
    end(error) {
      ended ??= error === undefined ? {} : { error };
      notify();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        while (values.length > 0) yield values.shift()!;
        if (ended && 'error' in ended) throw ended.error;
        if (ended) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
