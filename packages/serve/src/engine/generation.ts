import { createRun, PeftError, type Run } from '@peftjs/core';
import type { Model } from '@peftjs/models';
import { createQueue } from './queue.js';
import type { Registry } from './registry.js';
import type { BatchInfo, Scheduler, Sequence } from './scheduler.js';
import { createWriter } from './stop.js';
import type { EngineEvent, GenerateOptions, Generation, TokenEvent } from './types.js';

export interface GenerationParts {
  readonly model: Pick<Model, 'name' | 'tokenizer' | 'chatTemplate' | 'config'>;
  readonly registry: Registry;
  readonly scheduler: Scheduler<Sequence>;
  readonly maxTokens: number;
  readonly emit: (event: EngineEvent) => void;
}

/** One generation: a cold Run that joins the line when it is first iterated. */
export const createGeneration = (parts: GenerationParts, options: GenerateOptions): Run<TokenEvent, Generation> =>
  createRun((signal) => generate(parts, options, signal), options.signal);

/** The token ids of a request. @throws PeftError CONFIG_INVALID, INPUT_TOO_LONG */
function promptOf(
  { model, maxTokens }: GenerationParts,
  { tokens, prompt, messages }: GenerateOptions,
): readonly number[] {
  const given = [tokens, prompt, messages].filter((input) => input !== undefined);
  if (given.length !== 1) throw new PeftError('CONFIG_INVALID', 'Give exactly one of tokens, prompt and messages.');
  const ids = tokens ?? encode(model, prompt, messages);
  if (ids.length === 0) throw new PeftError('CONFIG_INVALID', 'The prompt has no token.');
  if (ids.length < maxTokens) return ids;
  const message = `The prompt has ${ids.length} tokens; with at least one for the answer this server takes ${maxTokens}.`;
  throw new PeftError('INPUT_TOO_LONG', message, { details: { tokens: ids.length, limit: maxTokens } });
}

function encode(
  { name, tokenizer, chatTemplate }: GenerationParts['model'],
  prompt?: string,
  messages?: GenerateOptions['messages'],
) {
  if (!tokenizer) throw new PeftError('MODEL_UNSUPPORTED', `${name} has no tokenizer, so it takes token ids only.`);
  if (prompt !== undefined) return [...tokenizer.startIds, ...tokenizer.encode(prompt, { specialTokens: false }).ids];
  if (!chatTemplate) throw new PeftError('MODEL_UNSUPPORTED', `${name} has no chat template: use plain completions.`);
  // The template writes start tokens itself.
  return tokenizer.encode(chatTemplate.render(messages ?? []), { specialTokens: false }).ids;
}

/** What has been generated so far. */
interface Progress {
  readonly tokens: number[];
  text: string;
  finish: Generation['finish'];
  widest: BatchInfo;
}

/** Takes the scheduler's tokens: text, stop strings, limits. The returned function says whether the sequence goes on. */
function receiver(
  { model }: GenerationParts,
  { stop = [], ignoreEnd = false }: GenerateOptions,
  prompt: readonly number[],
  limit: number,
  progress: Progress,
  send: (event: TokenEvent) => void,
): Sequence['accept'] {
  const ends = new Set(ignoreEnd ? [] : model.config.eosIds);
  const stream = model.tokenizer?.stream({ after: prompt });
  const writer = createWriter(stream, stop);
  return (token, batch) => {
    progress.tokens.push(token);
    const ended = ends.has(token);
    const full = progress.tokens.length >= limit;
    const { text, stopped } = writer.push(ended ? undefined : token, ended || full);
    if (ended || stopped) progress.finish = 'stop';
    if (batch.rows > progress.widest.rows) progress.widest = batch;
    progress.text += text;
    send({ type: 'token', token, text, batch });
    return !(ended || stopped || full);
  };
}

/** The times of one request, in seconds; tells the listeners as they come. */
function clock(emit: GenerationParts['emit']) {
  const arrived = performance.now();
  let before = arrived;
  const seconds = { queue: 0, first: 0 };
  const since = (from: number) => (performance.now() - from) / 1000;
  return {
    started() {
      seconds.queue = since(arrived);
      emit({ type: 'started', queue: seconds.queue });
    },
    token(first: boolean) {
      if (first) seconds.first = since(arrived);
      emit(first ? { type: 'first', seconds: seconds.first } : { type: 'token', seconds: since(before) });
      before = performance.now();
    },
    total: () => ({ ...seconds, total: since(arrived) }),
  };
}

async function* generate(
  parts: GenerationParts,
  options: GenerateOptions,
  signal: AbortSignal,
): AsyncGenerator<TokenEvent, Generation> {
  const { registry, scheduler, emit } = parts;
  const times = clock(emit);
  const entry = options.adapter === undefined ? undefined : registry.get(options.adapter);
  const prompt = promptOf(parts, options);
  const limit = Math.min(options.maxTokens ?? Number.POSITIVE_INFINITY, parts.maxTokens - prompt.length);
  const progress: Progress = { tokens: [], text: '', finish: 'length', widest: { rows: 0, adapters: 0 } };
  const events = createQueue<TokenEvent>();
  const receive = receiver(parts, options, prompt, limit, progress, events.push);
  const cancelled = () => new PeftError('CANCELLED', 'The request was cancelled.', { cause: signal.reason });
  if (signal.aborted) throw cancelled();

  const release = entry && registry.hold(entry);
  let handle: { cancel(reason: unknown): void } | undefined;
  try {
    handle = scheduler.submit({
      adapter: entry?.digest,
      tokens: prompt,
      sampling: { temperature: options.temperature ?? 0, topP: options.topP ?? 1, seed: options.seed ?? 0 },
      started: times.started,
      accept(token, batch) {
        times.token(progress.tokens.length === 0);
        return receive(token, batch);
      },
      ended: events.end,
    });
    signal.addEventListener('abort', () => handle?.cancel(cancelled()), { once: true });
    yield* events;
  } finally {
    handle?.cancel(cancelled()); // nothing happens when it has ended
    release?.();
  }

  const { tokens, text, finish, widest } = progress;
  const seconds = times.total();
  emit({ type: 'finished', seconds: seconds.total, promptTokens: prompt.length, newTokens: tokens.length });
  const digest = entry ? { digest: entry.digest } : {};
  return { tokens, text, finish, promptTokens: prompt.length, batch: widest, seconds, ...digest };
}
