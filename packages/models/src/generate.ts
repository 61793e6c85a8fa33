import { createRun, PeftError, type Run } from '@peftjs/core';
import type { Decoder } from './decoder.js';
import type { KvCache } from './kv-cache.js';
import { createSampler, type Sampler, type SamplingOptions } from './sampling.js';
import { rowOf } from './tasks/likelihood.js';
import type { TextStream } from './text-stream.js';
import type { Tokenizer } from './tokenizer.js';

export interface GenerateOptions extends SamplingOptions {
  /** Token ids of each prompt. */
  readonly prompts: readonly (readonly number[])[];
  readonly maxNewTokens: number;
  /** Turns ids into text as they arrive. */
  readonly tokenizer?: Pick<Tokenizer, 'stream'>;
  /** Ids that end a sequence. Default: the model's own. */
  readonly stopIds?: readonly number[];
  readonly signal?: AbortSignal;
}

export interface TokenEvent {
  readonly type: 'token';
  /** Number of the prompt. */
  readonly prompt: number;
  readonly id: number;
  /** Text that became certain with this token; '' while a character is incomplete, or without a tokenizer. */
  readonly text: string;
}

export interface Completion {
  /** New ids, the one that ended the sequence included. */
  readonly ids: readonly number[];
  readonly text: string;
  readonly reason: 'stop' | 'length';
}

/** One prompt on its way. */
interface Sequence {
  readonly prompt: number;
  readonly ids: number[];
  readonly sample: Sampler;
  readonly stream: TextStream | undefined;
  text: string;
  reason: Completion['reason'] | undefined;
}

/** Continues prompts together; each has the result it would have alone. Events come token by token. */
export function generate(decoder: Decoder, options: GenerateOptions): Run<TokenEvent, Completion[]> {
  const empty = options.prompts.findIndex((ids) => ids.length === 0);
  if (empty >= 0)
    throw new PeftError('DATA_INVALID', `Prompt ${empty} has no token: give it at least one (a start token).`);
  return createRun((signal) => decode(decoder, options, signal), options.signal);
}

async function* decode(
  decoder: Decoder,
  options: GenerateOptions,
  signal: AbortSignal,
): AsyncGenerator<TokenEvent, Completion[], void> {
  const { prompts, maxNewTokens, stopIds = decoder.eosIds } = options;
  const all = prompts.map(
    (given, prompt): Sequence => ({
      prompt,
      ids: [],
      sample: createSampler(options, prompt),
      stream: options.tokenizer?.stream({ after: given }),
      text: '',
      reason: maxNewTokens > 0 ? undefined : 'length',
    }),
  );
  if (maxNewTokens <= 0) return all.map(completionOf);

  const cache = decoder.createCache({
    rows: prompts.length,
    capacity: Math.max(...prompts.map(({ length }) => length)) + Math.min(maxNewTokens, 64),
  });
  const byRow: Sequence[] = all.map((sequence) => {
    cache.admit();
    return sequence;
  });
  let next: readonly (readonly number[])[] = prompts;
  while (byRow.length > 0) {
    signal.throwIfAborted();
    const logits = await decoder.step(cache, next);
    for (const [row, sequence] of byRow.entries()) {
      const id = sequence.sample(rowOf(logits, row));
      sequence.ids.push(id);
      if (stopIds.includes(id)) sequence.reason = 'stop';
      else if (sequence.ids.length === maxNewTokens) sequence.reason = 'length';
      const text = textOf(sequence, id);
      sequence.text += text;
      yield { type: 'token', prompt: sequence.prompt, id, text };
    }
    releaseFinished(cache, byRow);
    next = byRow.map(({ ids }) => [ids.at(-1)!]);
  }
  return all.map(completionOf);
}

function textOf({ stream, reason }: Sequence, id: number): string {
  if (!stream) return '';
  const text = stream.push(id);
  return reason ? text + stream.end() : text;
}

/** Takes ended sequences out of the cache; the last row moves into the place that became free. */
function releaseFinished(cache: KvCache, byRow: Sequence[]): void {
  for (let row = byRow.length - 1; row >= 0; row--) {
    if (!byRow[row]!.reason) continue;
    cache.release(row);
    const last = byRow.pop()!;
    if (row < byRow.length) byRow[row] = last;
  }
}

const completionOf = ({ ids, text, reason }: Sequence): Completion => ({ ids, text, reason: reason ?? 'length' });
