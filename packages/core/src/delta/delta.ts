import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';

/** One step of the change of a parameter: plain data that crosses threads. Its kind gives it meaning. */
export interface Term {
  readonly kind: string;
  readonly tensors: Readonly<Record<string, TensorRef>>;
  /** `transposed`, where a kind has it, says that the parameter lies as (in, out): the base decides it, not the update. */
  readonly meta: Readonly<Record<string, number | string | boolean>>;
}

/**
 * The neutral update of a model: for each parameter path (`model.layers.0.self_attn.q_proj.weight`) its terms in the
 * order in which they act: each changes what the ones before it left. Additive terms beside each other add, whatever
 * their order; W ⊙ S + ΔW (DSEE, Chen et al. 2023) is a mask, then additive terms.
 */
export interface Delta {
  readonly shape: ReadonlyMap<string, readonly number[]>;
  readonly params: ReadonlyMap<string, readonly Term[]>;
}

/** A trained adapter, independent of the method that made it. Its identity is the digest of its content. */
export interface Adapter {
  readonly delta: Delta;
  /** Parameters saved in full (modules_to_save, trained biases), by path. */
  readonly replaced: ReadonlyMap<string, TensorRef>;
  readonly digest: string;
  readonly base?: { readonly name?: string; readonly digest?: string };
  readonly method?: { readonly name: string; readonly config: unknown };
  readonly task?: { readonly name: string; readonly labels?: readonly string[] };
  /** Digests of the adapters that it was trained on top of; see `stack`. */
  readonly on?: readonly string[];
  /** The PEFT configuration it was read with, so that writing it again keeps what this library only carries. */
  readonly peft?: Readonly<Record<string, unknown>>;
}

/** The entries of a parameter that a term changes, and by how much. */
export interface Entries {
  /** Flat, row-major, ascending, distinct. */
  readonly indices: ArrayLike<number>;
  /** ΔW at the indices, scales inside. */
  readonly values: Float32Array;
}

/** A module of an inference graph, as a term on its weight finds it. */
export interface KindSite {
  readonly term: Term;
  /** Of the weight. */
  readonly shape: readonly number[];
  /** What enters: [rows, in], or ids i64 [rows] where the weight is a table. */
  readonly x: ShapedValue;
  readonly ids: boolean;
  /** The weight lies as (in, out): conv1d, and tables, whose rows are the input. */
  readonly transposed: boolean;
  /** x Wᵀ [rows, out] without the bias, by the weight as the terms before this one leave it. */
  before(x: ShapedValue): Promise<ShapedValue>;
  /** What is added after all terms of the weight, [out]: the module's bias as the adapter leaves it, if it has one. */
  readonly bias?: ShapedValue;
  /** That weight's numbers, float32. */
  weight(): Promise<Tensor>;
  /** Puts numbers of the term into the graph as a frozen weight; the same name gives the same value. */
  tensor(name: string, tensor: Tensor): ShapedValue;
}

/**
 * A kind of term: a table of functions over plain data. A kind with `slots` can be served unmerged.
 * Float32 throughout; `dense` has the parameter's own shape and layout.
 */
export interface Kind {
  readonly spec: 'v1';
  readonly kind: string;
  /** False where it is not W + ΔW: then `apply` is given, and `dense` and `scale` refuse with DELTA_CONFLICT. */
  readonly additive?: false;
  /** It leaves zeros at zero, so a bias that the base does not have stays absent under it. */
  readonly keepsZero?: true;
  /** It changes what leaves a module in a way that no weight holds: it runs by `attach`, and `apply` refuses. */
  readonly mergeable?: false;
  /** It changes the parameter for every module that shares it (a tied head); others act in the named module alone. */
  readonly shared?: true;
  /** The full ΔW of `shape`. */
  dense(term: Term, shape: readonly number[]): Promise<Tensor>;
  /** W' of W, where W' is not W + ΔW. Gets and gives f32 or f64, whichever W is. */
  apply?(weight: Tensor, term: Term, shape: readonly number[]): Promise<Tensor>;
  scale(term: Term, factor: number): Term;
  /** The exact sum as one term of this kind, or undefined when the terms just stand side by side. */
  add?(terms: readonly Term[], shape: readonly number[]): Promise<Term>;
  /** Where it is not W + ΔW: the term that gives Σ wᵢ Wᵢ′ of theirs, Σ wᵢ = 1, or why there is none. */
  mean?(terms: readonly Term[], weights: readonly number[]): Promise<Term | string>;
  /** Bytes the term takes in memory. */
  bytes(term: Term): number;
  /** What is wrong with the term for a parameter of this shape; empty when nothing is. */
  problems(term: Term, shape: readonly number[]): string[];
  /** What is wrong with its numbers, where they have rules of their own (indices). Asked of every file that is read. */
  check?(term: Term, shape: readonly number[]): Promise<string[]>;
  /** How the term enters a slot of a served graph: two factors with the scale inside, as [in, r] and [r, out]. */
  slots?(
    term: Term,
    shape: readonly number[],
  ): Promise<{ readonly a: Tensor; readonly b: Tensor; readonly rank: number }>;
  /** What it changes, where that is few entries: for formats that hold coordinates. Exact. */
  entries?(term: Term, shape: readonly number[]): Promise<Entries>;
  /**
   * How it acts in an inference graph: for an additive kind x ΔWᵀ [rows, out], for others what takes the place of
   * `before(x)`. Undefined where it has no way of its own at such a site; then dense numbers are put into the graph.
   */
  attach?(site: KindSite, ops: Ops): Promise<ShapedValue | undefined>;
}
