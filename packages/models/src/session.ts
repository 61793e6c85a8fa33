import { type Backend, compileGraph, type Example, loadBatch, PeftError, type Run } from '@peftjs/core';
import { type AdapterOptions, type AdapterWeights, attaching } from './adapters.js';
import { type Decoder, openDecoder } from './decoder.js';
import { type Completion, type GenerateOptions, generate, type TokenEvent } from './generate.js';
import type { Model } from './load.js';
import type { Prediction, Row } from './tasks/task.js';

export interface SessionOptions extends AdapterOptions {
  readonly backend: Backend;
  /** Rows run at once. Default 32. */
  readonly batchSize?: number;
  readonly signal?: AbortSignal;
}

export interface PredictOptions {
  /** Of the adapters that have a name. */
  readonly weights?: AdapterWeights;
  readonly signal?: AbortSignal;
}

/** A compiled model that answers. Dispose it when done. */
export interface Session {
  /**
   * What the task says of each row, or of each text or image path, in order.
   * @throws PeftError DATA_INVALID; CONFIG_INVALID for weights that are no numbers or no adapter's
   */
  predict(rows: readonly (string | Row)[], options?: PredictOptions): Promise<Prediction[]>;
  dispose(): Promise<void>;
}

/** A compiled language model that continues texts. Dispose it when done. */
export interface Writer {
  /** Continues texts; `prompts` may also be token ids. */
  generate(prompts: readonly (string | readonly number[])[], options: WriterOptions): Run<TokenEvent, Completion[]>;
  dispose(): Promise<void>;
}

export interface WriterOptions extends Omit<GenerateOptions, 'prompts' | 'tokenizer'> {
  /** Of the adapters that have a name. */
  readonly weights?: AdapterWeights;
}

/**
 * @throws PeftError ADAPTER_MISMATCH for an adapter of another base, DELTA_CONFLICT for adapters that do not add,
 *   CONFIG_INVALID, BACKEND_UNAVAILABLE
 */
export async function openSession<E extends Example>(model: Model<E>, options: SessionOptions): Promise<Session> {
  const { backend, batchSize = 32, signal } = options;
  const { task } = model;
  const { column = 'text' } = task;
  if (!task.predictions)
    throw new PeftError(
      'CONFIG_INVALID',
      `The task "${task.name}" does not predict: use openWriter to continue texts.`,
    );
  const adapters = await attaching(model, options);
  const { graph } = await adapters.attach(model.graph('predict'));
  const program = await compileGraph(backend, graph, { ...(signal && { signal }) });
  const fed = new Set(graph.inputs.map(({ name }) => name));
  return {
    async predict(rows, { weights, ...run } = {}) {
      const weighting = adapters.feeds(weights);
      const examples = rows.map((row, i) => task.encode(typeof row === 'string' ? { [column]: row } : row, i));
      const found: Prediction[] = [];
      for (let from = 0; from < examples.length; from += batchSize) {
        const indices = [...examples.keys()].slice(from, from + batchSize);
        const batch = await loadBatch(task, examples, indices, { labels: false });
        const feeds = Object.fromEntries(Object.entries(batch.feeds).filter(([name]) => fed.has(name)));
        found.push(...task.predictions!(await program.run({ ...feeds, ...weighting }, run), batch));
      }
      return found;
    },
    dispose: () => program.dispose(),
  };
}

/** @throws PeftError CONFIG_INVALID for a model that does not decode, and what `openSession` throws */
export async function openWriter(model: Model, options: Omit<SessionOptions, 'batchSize'>): Promise<Writer> {
  const { backend, signal } = options;
  const { tokenizer } = model;
  const adapters = await attaching(model, options);
  const decoder = await openDecoder(model, {
    backend,
    edit: async (graph) => void (await adapters.attach(graph)),
    ...(signal && { signal }),
  });
  const idsOf = (prompt: string | readonly number[]): readonly number[] => {
    if (typeof prompt !== 'string') return prompt;
    if (tokenizer) return tokenizer.encode(prompt).ids;
    throw new PeftError('FILE_MISSING', `"${model.directory}" has no tokenizer.json: give token ids.`);
  };
  return {
    generate: (prompts, { weights, ...rest }) => {
      const weighting = adapters.feeds(weights);
      const weighted: Decoder = {
        ...decoder,
        step: (cache, tokens, from) => decoder.step(cache, tokens, from, weighting),
      };
      return generate(weighted, { ...rest, prompts: prompts.map(idsOf), ...(tokenizer && { tokenizer }) });
    },
    dispose: () => decoder.dispose(),
  };
}
