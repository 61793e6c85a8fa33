import type { Ops, ShapedValue } from '@peftjs/core';

// l: [out] or [in], W: out × in (in × out where it lies so), x: [rows, in], y = x Wᵀ + b: [rows, out].

/** l ⊙ y (Liu et al. 2022, section 3.3: l_k ⊙ K and l_v ⊙ V); the bias is scaled too. */
export const scaledOutputs = (y: ShapedValue, l: ShapedValue, ops: Ops): ShapedValue => ops.mul(y, l);

export interface Layer {
  readonly W: ShapedValue;
  readonly b: ShapedValue | undefined;
  /** W lies as in × out. */
  readonly transposed: boolean;
}

/** (l ⊙ x) Wᵀ + b (section 3.3: (l_ff ⊙ γ(W₁ x)) W₂); the bias stays. */
export const scaledInputs = (x: ShapedValue, l: ShapedValue, { W, b, transposed }: Layer, ops: Ops): ShapedValue =>
  ops.gemm(ops.mul(x, l), W, b, { transB: !transposed });
