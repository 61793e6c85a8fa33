import { createRun, PeftError, type Run } from '@peftjs/core';
import type { Model } from '@peftjs/models';
import { createQueue } from './queue.js';
import type { Registry } from './registry.js';
import type { BatchInfo, Scheduler, Sequence } from './scheduler.js';
import { createStopper } from './stop.js';
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
function promptOf({ model, maxTokens }: GenerationParts, { tokens, prompt, messages }: GenerateOptions): readonly number[] {
  const given = [tokens, prompt, messages].filter((input) => input !== undefined);
  if (given.length !== 1) throw new PeftError('CONFIG_INVALID', 'Give exactly one of tokens, prompt and messages.');
  const ids = tokens ?? encode(model, prompt, messages);
  if (ids.length === 0) throw new PeftError('CONFIG_INVALID', 'The prompt has no token.');
  if (ids.length < maxTokens) return ids;
  const message = `The prompt has ${ids.length} tokens; with at least one for the answer this server takes ${maxTokens}.`;
  throw new PeftError('INPUT_TOO_LONG', message, { details: { tokens: ids.length, limit: maxTokens } });
}

function encode({ name, tokenizer, chatTemplate }: GenerationParts['model'], prompt?: string, messages?: GenerateOptions['messages']) {
  if (!tokenizer) throw new PeftError('MODEL_UNSUPPORTED', `${name} has no tokenizer, so it takes token ids only.`);
  if (prompt !== undefined) return [...tokenizer.startIds, ...tokenizer.encode(prompt, { specialTokens: false }).ids];
  if (!chatTemplate) throw new PeftError('MODEL_UNSUPPORTED', `${name} has no chat template: use plain completions.`);
  // The template writes start tokens itself.
  return tokenizer.encode(chatTemplate.render(messages ?? []), { specialTokens: false }).ids;
}

async function* generate(parts: GenerationParts, options: GenerateOptions, signal: AbortSignal): AsyncGenerator<TokenEvent, Generation> {
  const { model, registry, scheduler, emit } = parts;
  const arrived = performance.now();
  const since = (from = arrived) => (performance.now() - from) / 1000;
  const entry = options.adapter === undefined ? undefined : registry.get(options.adapter);
  const prompt = promptOf(parts, options);
  const limit = Math.min(options.maxTokens ?? Number.POSITIVE_INFINITY, parts.maxTokens - prompt.length);
  const ends = new Set(options.ignoreEnd ? [] : model.config.eosIds);
  const stopper = createStopper(options.stop ?? []);
  const stream = model.tokenizer?.stream();
  const events = createQueue<TokenEvent>();

  const tokens: number[] = [];
  let text = '';
  let finish: Generation['finish'] = 'length';
  let widest: BatchInfo = { rows: 0, adapters: 0 };
  const seconds = { queue: 0, first: 0 };
  let before = arrived;

  /** Takes a token of the scheduler's; false ends the sequence. */
  function accept(token: number, batch: BatchInfo): boolean {
    tokens.push(token);
    if (tokens.length === 1) emit({ type: 'first', seconds: (seconds.first = since()) });
    else emit({ type: 'token', seconds: since(before) });
    before = performance.now();
    if (batch.rows > widest.rows) widest = batch;
    const ended = ends.has(token);
    const found = stopper.push((ended ? '' : (stream?.push(token) ?? '')) + (ended ? (stream?.end() ?? '') : ''));
    const last = ended || found.stopped || tokens.length >= limit;
    if (ended || found.stopped) finish = 'stop';
    const rest = !last || found.stopped ? '' : ended ? stopper.flush() : lastText();
    const piece = found.text + rest;
    text += piece;
    events.push({ type: 'token', token, text: piece, batch });
    return !last;
  }

  /** What was held back when the last allowed token came; a stop string may still appear in it. */
  function lastText(): string {
    const found = stopper.push(stream?.end() ?? '');
    if (found.stopped) finish = 'stop';
    return found.stopped ? found.text : found.text + stopper.flush();
  }

  const release = entry && registry.hold(entry);
  const cancelled = () => new PeftError('CANCELLED', 'The request was cancelled.', { cause: signal.reason });
  try {
    if (signal.aborted) throw cancelled();
    const handle = scheduler.submit({
      adapter: entry?.digest,
      tokens: prompt,
      sampling: { temperature: options.temperature ?? 0, topP: options.topP ?? 1, seed: options.seed ?? 0 },
      started: () => emit({ type: 'started', queue: (seconds.queue = since()) }),
      accept,
      ended: (error) => events.end(error),
    });
    signal.addEventListener('abort', () => handle.cancel(cancelled()), { once: true });
    try {
      yield* events;
    } finally {
      handle.cancel(cancelled()); // nothing happens when it has ended
    }
  } finally {
    release?.();
  }
  const total = since();
  emit({ type: 'finished', seconds: total, promptTokens: prompt.length, newTokens: tokens.length });
  return {
    tokens,
    text,
    finish,
    promptTokens: prompt.length,
    batch: widest,
    ...(entry ? { digest: entry.digest } : {}),
    seconds: { ...seconds, total },
  };
}
