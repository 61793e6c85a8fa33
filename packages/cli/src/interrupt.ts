/** Aborts at the first Ctrl-C (work ends cleanly) and leaves at the second. */
export function onInterrupt(leave: () => void): { readonly signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const interrupt = () => (controller.signal.aborted ? leave() : controller.abort());
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return {
    signal: controller.signal,
    dispose() {
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    },
  };
}
