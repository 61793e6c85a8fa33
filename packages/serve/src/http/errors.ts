import { type ErrorCode, isPeftError } from '@peftjs/core';
import type * as z from 'zod';

/** An error as OpenAI's API reports it. */
export interface ApiError {
  readonly status: 400 | 404 | 409 | 413 | 422 | 429 | 500 | 503;
  readonly body: {
    readonly error: {
      readonly message: string;
      readonly type: string;
      readonly param: string | null;
      readonly code: string | null;
    };
  };
  /** Seconds after which to try again. */
  readonly retryAfter?: number;
}

const apiError = (
  status: ApiError['status'],
  code: string,
  message: string,
  param: string | null = null,
): ApiError => ({
  status,
  body: {
    error: {
      message,
      type: status >= 500 ? 'server_error' : status === 429 ? 'rate_limit_error' : 'invalid_request_error',
      param,
      code,
    },
  },
  ...(status === 429 || status === 503 ? { retryAfter: 1 } : {}),
});

/** Status and OpenAI's code for each of our codes that a client can cause; all others are faults of the server. */
const known: Partial<Record<ErrorCode, readonly [ApiError['status'], string, string?]>> = {
  ADAPTER_UNKNOWN: [404, 'model_not_found', 'model'],
  ADAPTER_INVALID: [422, 'adapter_invalid'],
  ADAPTER_MISMATCH: [422, 'adapter_mismatch'],
  CONFIG_INVALID: [400, 'invalid_value'],
  CONFIG_UNSUPPORTED: [422, 'config_unsupported'],
  DATA_INVALID: [400, 'invalid_value'],
  INPUT_TOO_LONG: [400, 'context_length_exceeded'],
  MODEL_UNSUPPORTED: [400, 'unsupported_operation'],
  SERVER_BUSY: [429, 'server_busy'],
  SERVER_CLOSED: [503, 'server_stopping'],
};

/** What a client is told. A fault of the server keeps its details to itself. */
export function toApiError(error: unknown): ApiError {
  const entry = isPeftError(error) ? known[error.code] : undefined;
  if (!isPeftError(error) || !entry) return apiError(500, 'internal_error', 'The server failed on this request.');
  const [status, code, param] = entry;
  return apiError(status, code, error.message, param);
}

/** Everything wrong with a body, in one message. */
export function invalidBody(error: z.ZodError): ApiError {
  const problems = error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  const [first] = error.issues;
  const param = first?.code === 'unrecognized_keys' ? first.keys[0] : first?.path.join('.');
  return apiError(400, 'invalid_body', problems.join('; '), param || null);
}

export const unknownRoute = (method: string, path: string): ApiError =>
  apiError(404, 'unknown_url', `There is no ${method} ${path} here.`);

export const bodyTooLarge = (limit: number): ApiError =>
  apiError(413, 'body_too_large', `The body is larger than ${limit} bytes, the most this server reads.`);

export const notJson = (): ApiError => apiError(400, 'invalid_json', 'The body is not valid JSON.');
