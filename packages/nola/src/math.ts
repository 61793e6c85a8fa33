import type { Ops, ShapedValue } from '@peftjs/core';

// a: r × in, b: out × r, s: the scale. Name the equation of the paper at each function.

/** ΔW = s B A. */
export const delta = (a: ShapedValue, b: ShapedValue, s: number, ops: Ops): ShapedValue => ops.mul(ops.matmul(b, a), s);

/** x ΔWᵀ = s (x Aᵀ) Bᵀ without forming ΔW: [rows, in] -> [rows, out]. */
export function apply(x: ShapedValue, a: ShapedValue, b: ShapedValue, s: number, ops: Ops): ShapedValue {
  const low = ops.gemm(x, a, undefined, { transB: true });
  return ops.gemm(low, b, undefined, { transB: true, alpha: s });
}
