import type { ModelGraph, Target } from '../adapter/target.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';

/** Feeds of one step, with what the loop must know about them. */
export interface Batch {
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** Labels that count: the loss of the batch is a mean over these. */
  readonly labels: number;
  /** Tokens that are not padding. */
  readonly tokens: number;
  /**
   * For each symbolic row count of the graph (`batch*length`, `batch*reads`): which sample and which token of it every
   * row is, -1 for padding. Dropout masks are a function of these, so they do not depend on how a batch is laid out.
   */
  readonly rows: Readonly<Record<string, { readonly sample: Int32Array; readonly token: Int32Array }>>;
}

/** One encoded row of a data set: plain data. `length` is its number of tokens. */
export interface Example {
  readonly length: number;
}

/** Gathers predictions over batches. */
export interface Metrics {
  add(outputs: Readonly<Record<string, Tensor>>, batch: Batch): void;
  result(): Record<string, number>;
}

/** What a model is asked to do: rows to examples to batches, a head, a loss, metrics. `E` is the task's own example. */
export interface Task<E extends Example = Example> {
  readonly name: string;
  readonly labels?: readonly string[];
  /** Modules trained and saved in full because the base does not have them (a new classification head). */
  readonly modulesToSave: readonly string[];
  /** @throws PeftError DATA_INVALID naming the row and the column */
  encode(row: Readonly<Record<string, string>>, index: number): E;
  /**
   * Looks at what `load` will fetch for an example, before anything long begins.
   * @throws PeftError DATA_INVALID naming the row
   */
  check?(example: E): Promise<void>;
  /**
   * Fetches what is too large to keep for a whole data set (the pixels of an image), for the examples of one batch.
   * `batch` is given what it returns.
   * @throws PeftError FILE_MISSING, FILE_INVALID, DATA_INVALID
   */
  load?(examples: readonly E[]): Promise<readonly E[]>;
  /** `indices` are the samples' numbers in the data set. */
  batch(examples: readonly E[], indices: readonly number[], options?: { labels?: boolean }): Batch;
  metrics(): Metrics;
  /** `higher` or `lower` is better, and which metric early stopping and the best checkpoint look at. */
  readonly monitor: { readonly metric: string; readonly better: 'higher' | 'lower' };
}

/** A base model bound to a task: everything training needs. Graphs are built afresh at every call. */
export interface TaskModel<E extends Example = Example> {
  readonly name: string;
  /** Digest of the base weights. */
  digest(): Promise<string>;
  readonly targets: readonly Target[];
  /** Every parameter by path, new heads included. */
  readonly parameters: ReadonlyMap<string, TensorRef>;
  readonly task: Task<E>;
  /** Digests of the frozen adapters in it; see `stack`. */
  readonly stacked?: readonly string[];
  /**
   * `train`: outputs `loss` [] and `logits`; `evaluate`: what the task's metrics read, with labels; `predict`: the
   * task's outputs, without labels.
   */
  graph(form: 'train' | 'evaluate' | 'predict'): ModelGraph & { readonly loss?: ShapedValue };
}
