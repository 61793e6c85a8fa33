/**
 * Work that reports while it runs, as a generator of its reports: they wait for whoever reads, the work does not. When
 * the reader leaves, `signal` is aborted and the work is waited for.
 */
export async function* reportsOf<E, R>(
  outer: AbortSignal,
  work: (emit: (event: E) => void, signal: AbortSignal) => Promise<R>,
): AsyncGenerator<E, R, void> {
  const controller = new AbortController();
  const abort = () => controller.abort(outer.reason);
  if (outer.aborted) abort();
  else outer.addEventListener('abort', abort, { once: true });
  const waiting: E[] = [];
  let wake = () => {};
  let over = false;
  const running = work((event) => {
    waiting.push(event);
    wake();
  }, controller.signal).finally(() => {
    over = true;
    wake();
  });
  running.catch(() => {}); // thrown below, or the reader has left
  try {
    for (;;) {
      while (waiting.length > 0) yield waiting.shift()!;
      if (over) return await running;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (waiting.length > 0 || over) resolve();
      });
    }
  } finally {
    controller.abort();
    outer.removeEventListener('abort', abort);
    await running.catch(() => {});
  }
}
