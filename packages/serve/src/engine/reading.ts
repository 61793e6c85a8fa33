import { type Example, PeftError } from '@peftjs/core';
import type { Model } from '@peftjs/models';
import type { Reading } from './batcher.js';
import type { Registered, Registry } from './registry.js';
import type { BatchInfo, Scheduler } from './scheduler.js';
import type { Classifications, EngineEvent, Input, ReadOptions } from './types.js';

export interface ReadingParts {
  readonly model: Pick<Model, 'name' | 'task' | 'tokenizer'>;
  readonly registry: Registry;
  readonly batcher: Scheduler<Reading>;
  readonly maxTokens: number;
  readonly emit: (event: EngineEvent) => void;
}

export interface ReadResult {
  readonly outputs: readonly Float32Array[];
  readonly promptTokens: number;
  readonly batch: BatchInfo;
  readonly entry: Registered | undefined;
}

/** Texts as the model's task encodes them; token ids are taken as they are. */
export type Encoded = Example & { readonly ids: readonly number[] };

function encode({ model, maxTokens }: ReadingParts, input: Input, index: number): Encoded {
  if (typeof input !== 'string') {
    const message = `Input ${index} has ${input.length} tokens; this server takes 1 to ${maxTokens}.`;
    if (input.length > maxTokens)
      throw new PeftError('INPUT_TOO_LONG', message, { details: { index, limit: maxTokens } });
    if (input.length === 0) throw new PeftError('CONFIG_INVALID', message, { details: { index } });
    return { length: input.length, ids: input, typeIds: input.map(() => 0) } as Encoded;
  }
  if (!model.tokenizer)
    throw new PeftError('MODEL_UNSUPPORTED', `${model.name} has no tokenizer, so it takes token ids only.`);
  const encoded = model.task.encode({ text: input }, index) as Encoded;
  if (encoded.length === 0)
    throw new PeftError('CONFIG_INVALID', `Input ${index} has no token.`, { details: { index } });
  return encoded;
}

/** Reads texts through the micro-batcher, all with one adapter; the widest batch that served any of them is told. */
export async function readTexts(
  parts: ReadingParts,
  inputs: readonly Input[],
  { adapter, signal }: ReadOptions,
): Promise<ReadResult> {
  const { registry, batcher, emit } = parts;
  const arrived = performance.now();
  const entry = adapter === undefined ? undefined : registry.get(adapter);
  const encoded = inputs.map((input, index) => encode(parts, input, index));
  const cancelled = () => new PeftError('CANCELLED', 'The request was cancelled.', { cause: signal?.reason });
  if (signal?.aborted) throw cancelled();

  const release = entry && registry.hold(entry);
  let batch: BatchInfo = { rows: 0, adapters: 0 };
  const handles: { cancel(reason: unknown): void }[] = [];
  const cancel = (reason: unknown) => handles.forEach((handle) => void handle.cancel(reason));
  const onAbort = () => cancel(cancelled());
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    const outputs = await Promise.all(
      encoded.map(
        (example) =>
          new Promise<Float32Array>((done, failed) => {
            const reading: Reading = {
              adapter: entry?.digest,
              example,
              done(output, served) {
                if (served.rows > batch.rows) batch = served;
                done(output);
              },
              failed,
            };
            handles.push(batcher.submit(reading));
          }),
      ),
    );
    const promptTokens = encoded.reduce((sum, { length }) => sum + length, 0);
    emit({ type: 'finished', seconds: (performance.now() - arrived) / 1000, promptTokens, newTokens: 0 });
    return { outputs, promptTokens, batch, entry };
  } catch (error) {
    cancel(error); // one that failed takes the others with it
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    release?.();
  }
}

/** exp(xᵢ) / Σ exp(xⱼ) over the first `count` values. */
function softmax(logits: Float32Array, count: number): number[] {
  const x = Array.from(logits.subarray(0, count));
  const highest = Math.max(...x);
  const e = x.map((value) => Math.exp(value - highest));
  const total = e.reduce((sum, value) => sum + value, 0);
  return e.map((value) => value / total);
}

/** Labels of an answer: the adapter's names, numbers for a head of its own without names, else those of the base. */
const labelsFor = (entry: Registered | undefined, base: readonly string[]): readonly string[] => {
  const outputs = entry?.prepared.layout.heads[0]?.out;
  return entry?.labels ?? (outputs === undefined ? base : Array.from({ length: outputs }, (_, i) => String(i)));
};

/** Logits as probabilities by label; heads narrower than the widest have trailing zeros, which are not theirs. */
export function classificationsOf({ outputs, entry }: ReadResult, base: readonly string[]): Classifications['results'] {
  const labels = labelsFor(entry, base);
  return outputs.map((logits) => {
    const p = softmax(logits, labels.length);
    const scores = Object.fromEntries(labels.map((label, i) => [label, p[i]!]));
    return { label: labels[p.indexOf(Math.max(...p))]!, scores };
  });
}
