import { type Kinds, type Layouts, PeftError } from '@peftjs/core';
import type { Model } from '@peftjs/models';
import { taskOf } from '../worker/model.js';
import type { BackendChoice } from '../worker/protocol.js';
import type { EngineTask } from './types.js';

export interface EngineOptions {
  /** The base: a model directory, or a loaded model. It is opened again in the worker. */
  readonly model: string | Pick<Model, 'directory' | 'task'>;
  /** What is served. Default: the loaded model's task; for a directory `generate`. */
  readonly task?: EngineTask;
  /** Name under which clients ask for the base. Default: the directory's. */
  readonly name?: string;
  /** A backend, or its name and device; it is made again in the worker. Default: onnxruntime on the CPU. */
  readonly backend?: { readonly name: string; readonly device?: string };
  readonly threads?: number;
  /** Adapters that lie ready at once, and the largest rank they can have. Default 32 and 16. */
  readonly slots?: { readonly adapters?: number; readonly rank?: number };
  /** Rows of a batch. Default 16. */
  readonly maxBatch?: number;
  /** Tokens of a prompt and its answer together. Default: what the model has positions for. */
  readonly maxTokens?: number;
  /** Requests that may wait. Default 256. */
  readonly maxWaiting?: number;
  /** Kinds of updates and layouts of files that plugins bring, beside those of core. */
  readonly kinds?: Kinds;
  readonly layouts?: Layouts;
}

/** Options with their defaults. */
export interface ResolvedOptions {
  readonly directory: string;
  readonly task: EngineTask;
  readonly backend: BackendChoice;
  readonly adapters: number;
  readonly rank: number;
  readonly maxBatch: number;
  readonly maxWaiting: number;
}

/** @throws PeftError CONFIG_INVALID listing every limit that is none */
export function resolveOptions({
  model,
  task,
  backend,
  threads,
  slots = {},
  maxBatch = 16,
  maxWaiting = 256,
  maxTokens,
}: EngineOptions): ResolvedOptions {
  const { adapters = 32, rank = 16 } = slots;
  const limits = { maxBatch, maxWaiting, 'slots.adapters': adapters, 'slots.rank': rank, maxTokens: maxTokens ?? 1 };
  const wrong = Object.entries(limits).filter(([, value]) => !Number.isInteger(value) || value < 1);
  if (wrong.length > 0) {
    const given = wrong.map(([key, value]) => `${key} is ${value}`).join(', ');
    throw new PeftError('CONFIG_INVALID', `The limits of an engine are whole numbers from 1: ${given}.`, {
      details: Object.fromEntries(wrong),
    });
  }
  const loaded = typeof model === 'string' ? undefined : model;
  return {
    directory: loaded?.directory ?? (model as string),
    task: task ?? (loaded && taskOf(loaded.task.name)) ?? 'generate',
    backend: backendChoice(backend, threads),
    adapters,
    rank,
    maxBatch,
    maxWaiting,
  };
}

/** Every backend of this project is a package that exports a function of its name. */
function backendChoice(
  { name, device }: NonNullable<EngineOptions['backend']> = { name: 'onnxruntime' },
  threads?: number,
): BackendChoice {
  const options = { ...(device === undefined ? {} : { device }), ...(threads === undefined ? {} : { threads }) };
  return { module: `@peftjs/${name}`, factory: name, options };
}
