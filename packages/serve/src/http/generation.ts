import { randomUUID } from 'node:crypto';
import type { Context } from 'hono';
import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import type { Engine, GenerateOptions, Generation } from '../engine/types.js';
import { toApiError } from './errors.js';
import { selectAdapter } from './select.js';

/** Where chat and plain completions differ: the names of things and the form of a choice. */
export interface Form {
  readonly prefix: string;
  readonly object: string;
  readonly chunk: string;
  whole(text: string): object;
  /** What a stream opens with, if anything. */
  readonly opening?: object;
  piece(text: string): object;
  readonly closing: object;
}

/** The fields of a body that both forms share. */
interface Body {
  readonly model: string;
  readonly temperature?: number | null | undefined;
  readonly top_p?: number | null | undefined;
  readonly seed?: number | null | undefined;
  readonly stop?: string | readonly string[] | null | undefined;
  readonly stream?: boolean | null | undefined;
  readonly stream_options?: { include_usage?: boolean | undefined } | null | undefined;
}

const usageOf = ({ promptTokens, tokens }: Generation) => ({
  prompt_tokens: promptTokens,
  completion_tokens: tokens.length,
  total_tokens: promptTokens + tokens.length,
});

/** OpenAI's defaults: temperature 1, and another seed for every request that names none. */
const samplingOf = ({ temperature, top_p, seed, stop }: Body) => ({
  temperature: temperature ?? 1,
  topP: top_p ?? 1,
  seed: seed ?? Math.floor(Math.random() * 2 ** 31),
  ...(stop == null ? {} : { stop: typeof stop === 'string' ? [stop] : stop }),
});

/** Answers a completion request, whole or as server-sent events. */
export async function answer(
  c: Context,
  engine: Engine,
  form: Form,
  body: Body,
  input: Pick<GenerateOptions, 'prompt' | 'tokens' | 'messages' | 'maxTokens'>,
): Promise<Response> {
  const adapter = selectAdapter(engine, body.model);
  const head = { id: `${form.prefix}-${randomUUID()}`, created: Math.floor(Date.now() / 1000), model: body.model };
  const run = engine.generate({
    ...input,
    ...samplingOf(body),
    ...(adapter ? { adapter: adapter.name } : {}),
    signal: c.req.raw.signal, // a client that hangs up ends its sequence
  });
  if (adapter) c.header('x-adapter-digest', adapter.digest);

  if (!body.stream) {
    const result = await run.result();
    const choice = { index: 0, ...form.whole(result.text), logprobs: null, finish_reason: result.finish };
    return c.json({ ...head, object: form.object, choices: [choice], usage: usageOf(result), batch: result.batch });
  }

  // The first token is awaited before the answer begins, so that whatever is wrong with the request has its status.
  const events = run[Symbol.asyncIterator]();
  let next = await events.next();
  const withUsage = body.stream_options?.include_usage === true;
  return streamSSE(c, async (stream) => {
    const send = (choices: object[], rest: object = {}) =>
      write(stream, { ...head, object: form.chunk, choices, ...(withUsage ? { usage: null } : {}), ...rest });
    const choice = (content: object, finish: string | null = null) => ({
      index: 0,
      ...content,
      logprobs: null,
      finish_reason: finish,
    });
    try {
      if (form.opening) await send([choice(form.opening)]);
      for (; !next.done; next = await events.next()) {
        const { text, batch } = next.value;
        if (text !== '') await send([choice(form.piece(text))], { batch });
      }
      const result = await run.result();
      await send([choice(form.closing, result.finish)], { batch: result.batch });
      if (withUsage) await send([], { usage: usageOf(result) });
    } catch (error) {
      await write(stream, toApiError(error).body);
    } finally {
      run.cancel();
    }
    await stream.writeSSE({ data: '[DONE]' });
  });
}

const write = (stream: SSEStreamingApi, value: object) => stream.writeSSE({ data: JSON.stringify(value) });
