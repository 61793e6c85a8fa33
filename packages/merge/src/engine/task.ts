import type { DType, TensorRef, Term } from '@peftjs/core';
import type { Stats } from '../define.js';

/** A tensor as one input has it: stored numbers (zeros where there are none) with updates on top. */
export interface Operand {
  readonly ref?: TensorRef;
  readonly terms: readonly Term[];
}

/** Where the result of a task goes. */
export type Target =
  | { readonly to: 'file'; readonly path: string; readonly offset: number; readonly dtype: DType }
  /** Comes back with the outcome. */
  | { readonly to: 'memory'; readonly dtype: DType };

/** One tensor of the result: everything that is needed to make it, in any thread. */
export interface Task {
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly base?: Operand;
  readonly models: readonly Operand[];
  readonly ids: readonly string[];
  readonly weights: readonly number[];
  readonly config: unknown;
  readonly each: readonly unknown[];
  readonly seed: number;
  /**
   * `merge` what the method makes; `difference` that less the base; `copy` for tensors that are no floats; `stats` only
   * the results of the reducers.
   */
  readonly kind: 'merge' | 'difference' | 'copy' | 'stats';
  readonly target: Target;
}

/** How far a task is: results of the rounds of reducers before `round`. */
export interface Progress {
  readonly round: number;
  readonly stats: Stats;
}

export const atStart: Progress = { round: 0, stats: { numbers: {}, selections: {} } };

export interface Finished {
  readonly done: true;
  /** The result in its dtype, for the target `memory`. */
  readonly data?: ArrayBuffer;
  /** For the kind `stats`. */
  readonly stats?: Stats;
  readonly warnings: readonly string[];
}

/** A round asks for something over all tensors: nobody can go on alone. */
export interface Paused extends Progress {
  readonly done: false;
}

export type Outcome = Finished | Paused;
