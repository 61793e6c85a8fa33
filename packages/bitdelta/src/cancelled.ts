import { PeftError } from '@peftjs/core';

/** @throws PeftError CANCELLED after an abort. @param what is stopped, as it begins a sentence */
export function requireRunning(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted) throw new PeftError('CANCELLED', `${what} was cancelled.`, { cause: signal.reason });
}
