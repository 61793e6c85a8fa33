import type { Delta, DType, Kinds, Layouts, Parameters } from '@peftjs/core';
import type { Source } from './sources.js';

/** An input with what holds for it alone. */
export interface WeightedSource {
  readonly input: Source;
  /** Default 1. */
  readonly weight?: number;
  /** For messages and random draws; default the last part of its path. */
  readonly name?: string;
  /** Values of the method's configuration that it has for itself: `{ density: 0.5 }`. */
  readonly settings?: Readonly<Record<string, number | boolean | string>>;
}

export interface MergeOptions {
  /** The model that all others were trained from: a path, or its parameters. Adapters become base + update with it. */
  readonly base?: string | Parameters;
  /** Where the result is written; without it the result stays in memory. */
  readonly output?: string;
  /**
   * What is written: a model's directory; a PEFT adapter (`rank` or `energy` unless it is one exactly); or a file of
   * differences, added to the base. Default: a checkpoint, or a delta where updates are merged without a base.
   */
  readonly as?: 'checkpoint' | 'adapter' | 'delta';
  /** The dtype of the result; default that of each tensor in the base, or in the first model. */
  readonly outDtype?: DType;
  /** Upper bound of a shard's tensors; default 5 GB. */
  readonly maxShardBytes?: number;
  /** For `as: 'adapter'`: the rank of every matrix, or the share of its energy that is kept. */
  readonly rank?: number;
  readonly energy?: number;
  /** Default: one a processor, at most 4, none for small models; 0: this thread. They never change the result. */
  readonly threads?: number;
  /** Of everything random. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
  readonly kinds?: Kinds;
  readonly layouts?: Layouts;
}

export interface MergeResult {
  readonly method: string;
  /** Tensors of the result. */
  readonly tensors: number;
  /** The path that was written. */
  readonly output?: string;
  /** The merged update, where it is one and stayed in memory. */
  readonly delta?: Delta;
  /** The merged model, where it stayed in memory. */
  readonly parameters?: Parameters;
  /** The share of the energy that truncation to an adapter lost. */
  readonly discarded?: number;
}
