import type { Tensor, TensorRef } from '../tensor/tensor.js';

/** One summand of the change of a parameter: plain data that crosses threads. Its kind gives it meaning. */
export interface Term {
  readonly kind: string;
  readonly tensors: Readonly<Record<string, TensorRef>>;
  /** `transposed`, where a kind has it, says that the parameter lies as (in, out): the base decides it, not the update. */
  readonly meta: Readonly<Record<string, number | string | boolean>>;
}

/** The neutral update of a model: for each parameter path (`model.layers.0.self_attn.q_proj.weight`) a sum of terms. */
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
  /** The PEFT configuration it was read with, so that writing it again keeps what this library only carries. */
  readonly peft?: Readonly<Record<string, unknown>>;
}

/**
 * A kind of term: a table of functions over plain data. A kind with `slots` can be served unmerged.
 * Float32 throughout; `dense` has the parameter's own shape and layout.
 */
export interface Kind {
  readonly spec: 'v1';
  readonly kind: string;
  /** The full ΔW of `shape`. */
  dense(term: Term, shape: readonly number[]): Promise<Tensor>;
  scale(term: Term, factor: number): Term;
  /** The exact sum as one term of this kind, or undefined when the terms just stand side by side. */
  add?(terms: readonly Term[], shape: readonly number[]): Promise<Term>;
  /** Bytes the term takes in memory. */
  bytes(term: Term): number;
  /** What is wrong with the term for a parameter of this shape; empty when nothing is. */
  problems(term: Term, shape: readonly number[]): string[];
  /** How the term enters a slot of a served graph: two factors with the scale inside, as [in, r] and [r, out]. */
  slots?(
    term: Term,
    shape: readonly number[],
  ): Promise<{ readonly a: Tensor; readonly b: Tensor; readonly rank: number }>;
}
