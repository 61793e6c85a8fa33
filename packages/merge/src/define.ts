import type { Random } from '@peftjs/core';
import type * as z from 'zod';

/**
 * Elements of one tensor as all inputs have them: a run of row-major elements, widened to float32. The arrays hold until
 * the function that is given them returns; whoever needs them longer copies.
 */
export interface Chunk {
  /** Path of the tensor. */
  readonly tensor: string;
  /** Shape of the whole tensor; [] for a scalar. */
  readonly shape: readonly number[];
  /** Row-major index of the chunk's first element in the tensor. */
  readonly offset: number;
  readonly base?: Float32Array;
  /** One array a model, all as long as the chunk. */
  readonly models: readonly Float32Array[];
}

/** Numbers of a chunk that a reducer takes in: one for each element. Pure. */
export type Source = (chunk: Chunk) => Float32Array;

/** Where a reducer collects: over one tensor, or over all merged tensors (in the order of their paths). */
export type Scope = 'tensor' | 'model';

/** The fixed set of streaming reducers. Sums are in float64. */
export type Reducer =
  | { readonly kind: 'sum'; readonly of: Source; readonly scope?: Scope }
  /** Σ |a|. */
  | { readonly kind: 'norm1'; readonly of: Source; readonly scope?: Scope }
  /** Σ a b; the squared norm is `dot` of a source with itself. */
  | { readonly kind: 'dot'; readonly of: readonly [Source, Source]; readonly scope?: Scope }
  /** How many elements are not zero. */
  | { readonly kind: 'count'; readonly of: Source; readonly scope?: Scope }
  /**
   * The k largest magnitudes, exactly, without sorting; of equal ones at the border the lower row-major index is in.
   * `k` is asked with the number of elements in the scope and is cut to 0..n.
   */
  | { readonly kind: 'largest'; readonly of: Source; readonly k: (count: number) => number; readonly scope?: Scope };

/**
 * A set of largest elements: those whose magnitude has float32 bits above `bits`, and those equal to it with a
 * row-major index (in this tensor) up to `last`. `isIn` in select.ts asks it.
 */
export interface Selection {
  readonly bits: number;
  readonly last: number;
}

/** Results of the reducers asked so far, by the names they were asked under. Plain data. */
export interface Stats {
  readonly numbers: Readonly<Record<string, number>>;
  readonly selections: Readonly<Record<string, Selection>>;
}

/** What holds for the whole tensor: the same for each of its chunks. */
export interface TensorContext<Settings> {
  readonly tensor: string;
  readonly shape: readonly number[];
  /** Number of elements of the tensor. */
  readonly count: number;
  /** One a model, finite. */
  readonly weights: readonly number[];
  /** The configuration for this tensor. */
  readonly c: Settings;
  /** The same with each model's own values in place of the shared ones. */
  readonly each: readonly Settings[];
  /** Results of the rounds before. */
  readonly stats: Stats;
  /** The stream of this seed and this tensor; `fork(ids[i])` is model i's. Word `offset + j` belongs to element j. */
  readonly rng: Random;
  /** Names of the models: what a draw depends on, instead of their order. */
  readonly ids: readonly string[];
}

export interface CombineContext<Settings> extends TensorContext<Settings>, Chunk {
  /** Tells the caller something about this tensor that is no error. */
  readonly warn: (message: string) => void;
}

/** A tensor in memory, widened to float32. */
export interface WholeTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type WholeModel = ReadonlyMap<string, WholeTensor>;

export interface WholeContext<Settings> {
  readonly base?: WholeModel;
  readonly models: readonly WholeModel[];
  readonly weights: readonly number[];
  readonly c: Settings;
  readonly each: readonly Settings[];
  readonly rng: Random;
  readonly ids: readonly string[];
  readonly warn: (message: string) => void;
}

/** What is known before any tensor is read. */
export interface CheckContext<Settings> {
  readonly weights: readonly number[];
  readonly c: Settings;
  readonly each: readonly Settings[];
  readonly hasBase: boolean;
}

/** How a tensor is cut: anywhere, between rows of the first axis (a tensor of one axis is one row), or not at all. */
export type Pieces = 'elements' | 'rows' | 'tensor';

/**
 * One merging method: pure functions and a schema. A method has either `combine` (streamed, chunk by chunk) or `whole`
 * (all tensors of all models in memory at once).
 */
export interface Merge<Schema extends z.ZodType = z.ZodType> {
  readonly spec: 'v1';
  readonly name: string;
  readonly paper?: string;
  /** An object of camelCase keys. */
  readonly config: Schema;
  /** Keys of `config` that a model may have for itself. */
  readonly perModel?: readonly string[];
  readonly base: 'required' | 'optional' | 'none';
  /** How many models there may be beside the base; default 1 or more. */
  readonly models?: { readonly min?: number; readonly max?: number };
  /** Whether the models' order changes the result (beyond rounding). */
  readonly ordered?: boolean;
  /** What is wrong with the options; empty when nothing is. Weights are already finite and one a model. */
  check?(context: CheckContext<z.output<Schema>>): string[];
  /** How chunks may be cut, in the rounds of `stats` too; default 'elements'. */
  pieces?(c: z.output<Schema>): Pieces;
  /**
   * Rounds of reducers over a tensor before it is combined; each round sees the results of those before. A round with
   * nothing to ask returns {}. Names are free and must be distinct over all rounds.
   */
  readonly stats?: readonly ((context: TensorContext<z.output<Schema>>) => Readonly<Record<string, Reducer>>)[];
  /** The merged elements of a chunk, as many as it has. May not change its inputs. */
  combine?(context: CombineContext<z.output<Schema>>): Float32Array;
  /** All merged tensors by path, with the shapes of the first model. */
  whole?(context: WholeContext<z.output<Schema>>): Map<string, Float32Array>;
}

/** A merging method with its configuration: what `ties({ density: 0.2 })` gives and `merge` takes. */
export interface BoundMerge<Schema extends z.ZodType = z.ZodType> {
  readonly merge: Merge<Schema>;
  readonly config: z.output<Schema>;
}

export type MergeInput<Schema extends z.ZodType> = z.input<Schema>;

export interface MergeFunction<Schema extends z.ZodType> {
  /** @throws PeftError CONFIG_INVALID listing everything wrong with the options */
  (options?: MergeInput<Schema>): BoundMerge<Schema>;
  readonly merge: Merge<Schema>;
}
