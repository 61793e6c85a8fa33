import {
  type Adapter,
  attachDelta,
  type Backend,
  compileGraph,
  type Example,
  type Kinds,
  loadBatch,
  type ModelGraph,
  PeftError,
  type Run,
} from '@peftjs/core';
import { openDecoder } from './decoder.js';
import { type Completion, type GenerateOptions, generate, type TokenEvent } from './generate.js';
import type { Model } from './load.js';
import type { Prediction, Row } from './tasks/task.js';

export interface SessionOptions {
  readonly backend: Backend;
  /** Adapters that act together; their updates add. */
  readonly adapters?: readonly Adapter[];
  /** Kinds of their updates, where they are not all built in. */
  readonly kinds?: Kinds;
  /** Rows run at once. Default 32. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

/** A compiled model that answers. Dispose it when done. */
export interface Session {
  /** What the task says of each row, or of each text or image path, in order. @throws PeftError DATA_INVALID */
  predict(rows: readonly (string | Row)[], options?: { signal?: AbortSignal }): Promise<Prediction[]>;
  dispose(): Promise<void>;
}

/** A compiled language model that continues texts. Dispose it when done. */
export interface Writer {
  /** Continues texts; `prompts` may also be token ids. */
  generate(prompts: readonly (string | readonly number[])[], options: WriterOptions): Run<TokenEvent, Completion[]>;
  dispose(): Promise<void>;
}

export type WriterOptions = Omit<GenerateOptions, 'prompts' | 'tokenizer'>;

async function attachAll(
  graph: ModelGraph,
  { parameters }: Pick<Model, 'parameters'>,
  { adapters = [], kinds }: Pick<SessionOptions, 'adapters' | 'kinds'>,
): Promise<ModelGraph> {
  let attached = graph;
  for (const adapter of adapters)
    attached = await attachDelta(attached, adapter, { parameters, ...(kinds && { kinds }) });
  return attached;
}

/** @throws PeftError ADAPTER_MISMATCH for an adapter of another base, BACKEND_UNAVAILABLE */
export async function openSession<E extends Example>(model: Model<E>, options: SessionOptions): Promise<Session> {
  const { backend, batchSize = 32, signal } = options;
  const { task } = model;
  const { column = 'text' } = task;
  if (!task.predictions)
    throw new PeftError(
      'CONFIG_INVALID',
      `The task "${task.name}" does not predict: use openWriter to continue texts.`,
    );
  const { graph } = await attachAll(model.graph('predict'), model, options);
  const program = await compileGraph(backend, graph, { ...(signal && { signal }) });
  const fed = new Set(graph.inputs.map(({ name }) => name));
  return {
    async predict(rows, run = {}) {
      const examples = rows.map((row, i) => task.encode(typeof row === 'string' ? { [column]: row } : row, i));
      const found: Prediction[] = [];
      for (let from = 0; from < examples.length; from += batchSize) {
        const indices = [...examples.keys()].slice(from, from + batchSize);
        const batch = await loadBatch(task, examples, indices, { labels: false });
        const feeds = Object.fromEntries(Object.entries(batch.feeds).filter(([name]) => fed.has(name)));
        found.push(...task.predictions!(await program.run(feeds, run), batch));
      }
      return found;
    },
    dispose: () => program.dispose(),
  };
}

/** @throws PeftError CONFIG_INVALID for a model that does not decode, ADAPTER_MISMATCH, BACKEND_UNAVAILABLE */
export async function openWriter(model: Model, options: Omit<SessionOptions, 'batchSize'>): Promise<Writer> {
  const { backend, signal } = options;
  const { tokenizer } = model;
  const decoder = await openDecoder(model, {
    backend,
    edit: async (graph) => void (await attachAll(graph, model, options)),
    ...(signal && { signal }),
  });
  const idsOf = (prompt: string | readonly number[]): readonly number[] => {
    if (typeof prompt !== 'string') return prompt;
    if (tokenizer) return tokenizer.encode(prompt).ids;
    throw new PeftError('FILE_MISSING', `"${model.directory}" has no tokenizer.json: give token ids.`);
  };
  return {
    generate: (prompts, rest) =>
      generate(decoder, { ...rest, prompts: prompts.map(idsOf), ...(tokenizer && { tokenizer }) }),
    dispose: () => decoder.dispose(),
  };
}
