import { isPeftError, PeftError } from '@peftjs/core';
import type { SentError } from './protocol.js';

export function sendError(error: unknown): SentError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const known = isPeftError(error) ? { code: error.code, details: structuredClonable(error.details) } : {};
  return { message, ...(stack ? { stack } : {}), ...known };
}

export function receiveError({ message, stack, code = 'INTERNAL', details = {} }: SentError): PeftError {
  const error = new PeftError(code, message, { details });
  if (stack) error.stack = stack;
  return error;
}

/** Details are facts for a program; what cannot be cloned (a function, a graph value) is none. */
function structuredClonable(details: Record<string, unknown>): Record<string, unknown> {
  return JSON.parse(
    JSON.stringify(details, (_, value: unknown) => (typeof value === 'bigint' ? Number(value) : value)),
  );
}
