import type { Ops, ShapedValue } from '@peftjs/core';

// A: r × in and B: out × r, random and shared; d: [r] and b: [out], trained.

export interface Factors {
  readonly A: ShapedValue;
  readonly B: ShapedValue;
  readonly d: ShapedValue;
  readonly b: ShapedValue;
}

/** The part of the shared matrices that fits a module: the first `in` columns of A and the first `out` rows of B. */
export function sliced(
  { A, B }: Pick<Factors, 'A' | 'B'>,
  target: { readonly in: number; readonly out: number },
  ops: Ops,
): Pick<Factors, 'A' | 'B'> {
  return {
    A: A.shape[1] === target.in ? A : ops.slice(A, 1, 0, target.in),
    B: B.shape[0] === target.out ? B : ops.slice(B, 0, 0, target.out),
  };
}

/** ΔW = Λ_b B Λ_d A (Kopiczko et al. 2024, eq. 2). */
export const delta = ({ A, B, d, b }: Factors, ops: Ops): ShapedValue =>
  ops.mul(ops.matmul(ops.mul(B, d), A), ops.unsqueeze(b, [1]));

/** x ΔWᵀ = ((x Aᵀ) ⊙ d) Bᵀ ⊙ b without forming ΔW: [rows, in] -> [rows, out]. */
export function apply(x: ShapedValue, { A, B, d, b }: Factors, ops: Ops): ShapedValue {
  const low = ops.mul(ops.gemm(x, A, undefined, { transB: true }), d);
  return ops.mul(ops.gemm(low, B, undefined, { transB: true }), b);
}
