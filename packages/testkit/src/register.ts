import { describe, it } from 'vitest';
import type { Law } from './law.js';

/** Makes each law a test of its own; those with a reason to skip are shown with it. */
export function registerLaws(title: string, laws: readonly Law[]): void {
  describe(title, () => {
    for (const { name, skip, check } of laws) it.skipIf(skip)(skip ? `${name} (${skip})` : name, check);
  });
}
