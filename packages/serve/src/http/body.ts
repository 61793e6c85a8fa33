import type { Context } from 'hono';
import type * as z from 'zod';
import { type ApiError, invalidBody, notJson } from './errors.js';

/** Carries an answer out of a handler. */
export class ApiFailure extends Error {
  readonly answer: ApiError;

  constructor(answer: ApiError) {
    super(answer.body.error.message);
    this.answer = answer;
  }
}

/** The body as the schema has it. @throws ApiFailure 400 with everything that is wrong */
export async function readBody<S extends z.ZodType>(c: Context, schema: S): Promise<z.output<S>> {
  const text = await c.req.text(); // the size limit acts while it is read, whatever the content type says
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ApiFailure(notJson());
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new ApiFailure(invalidBody(parsed.error));
  return parsed.data;
}
