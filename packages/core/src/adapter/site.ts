import type { ShapedValue } from '../graph/graph.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Target } from './target.js';

export type Params<T> = Readonly<Record<string, T>>;

/** Tensors of one target, or those that all targets share. */
export interface Initial {
  /** Updated by the optimizer. */
  readonly train: Params<Tensor>;
  /** Take part, never change, and are rebuilt from the seed rather than saved. */
  readonly frozen?: Params<Tensor>;
  /** Take part and change between updates only, by `onStep`: index sets, masks, ranks. Saved in checkpoints. */
  readonly held?: Params<Tensor>;
}

/** One target with its configuration (patterns applied) and its tensors: numbers, or values in a graph. */
export interface SiteOf<T, C> {
  readonly target: Target;
  readonly c: C;
  /** The target's tensors and the shared ones, by letter. */
  readonly p: Params<T>;
}

/** One target in a graph. */
export interface GraphSite<C> extends SiteOf<ShapedValue, C> {
  /** The numbers of `scalars`, as values of shape []. */
  readonly s: Params<ShapedValue>;
}

/** A parameter of a target's module in a graph, in its own layout. */
export interface WeightSite<C> extends GraphSite<C> {
  readonly W: ShapedValue;
  /** Its name within the module: `weight`, `bias`. */
  readonly name: string;
}

/** A module in a graph: what enters, what leaves and its own parameters (those that `weight` has changed). */
export interface ModuleSite<C> extends GraphSite<C> {
  /** [rows, in], or ids [rows] of an embedding; dropout is already applied. */
  readonly x: ShapedValue;
  /** [rows, out], from the input without dropout. */
  readonly y: ShapedValue;
  readonly parameters: Params<ShapedValue>;
  /** Whether dropout is at work in x. */
  readonly dropped: boolean;
}
