import { isPeftError, type PeftError } from '@peftjs/core';

/** One thing that must hold. `check` throws when it does not; `skip` is why it cannot be asked here. */
export interface Law {
  readonly name: string;
  readonly skip?: string;
  check(): Promise<void>;
}

/** Checks all laws, without a test runner. @returns what failed, by name */
export async function checkLaws(laws: readonly Law[]): Promise<ReadonlyMap<string, unknown>> {
  const failures = new Map<string, unknown>();
  for (const { name, skip, check } of laws) {
    if (skip) continue;
    await check().catch((error: unknown) => failures.set(name, error));
  }
  return failures;
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/**
 * The PeftError that `act` must throw.
 * @param codes which codes are right; any when empty
 * @param mentions texts that its message must have (the tensor, the node, the value)
 */
export async function expectPeftError(
  act: () => unknown,
  codes: readonly string[] = [],
  mentions: readonly string[] = [],
): Promise<PeftError> {
  let thrown: unknown;
  try {
    await act();
  } catch (error) {
    thrown = error;
  }
  assert(thrown !== undefined, `nothing was thrown; expected ${codes.join(' or ') || 'a PeftError'}`);
  assert(isPeftError(thrown), `thrown was not a PeftError but ${thrown}`);
  assert(
    codes.length === 0 || codes.includes(thrown.code),
    `code ${thrown.code}, expected ${codes}: ${thrown.message}`,
  );
  const missing = mentions.filter((text) => !(thrown as PeftError).message.includes(text));
  assert(missing.length === 0, `the message does not name ${missing.join(', ')}: ${thrown.message}`);
  return thrown;
}
