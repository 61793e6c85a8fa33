import type { Ops, ShapedValue } from '@peftjs/core';

// a: r × in, b: out × r, g: r (the gates), s: the scale α / r, with the r that training began with.
// The formulas are those of Ding et al. 2023 (arXiv 2311.11696), section 3.

/** ΔW = s B diag(g) A: out × in. */
export const delta = (a: ShapedValue, b: ShapedValue, g: ShapedValue, s: number, ops: Ops): ShapedValue =>
  ops.mul(ops.matmul(ops.mul(b, g), a), s);

/** x ΔWᵀ = s ((x Aᵀ) ⊙ g) Bᵀ: [rows, in] -> [rows, out]. */
export function apply(
  x: ShapedValue,
  a: ShapedValue,
  b: ShapedValue,
  g: ShapedValue,
  s: number,
  ops: Ops,
): ShapedValue {
  const low = ops.mul(ops.gemm(x, a, undefined, { transB: true }), g);
  return ops.gemm(low, b, undefined, { transB: true, alpha: s });
}

/** The soft threshold T_ξ(v) = sign(v) max(|v| - ξ, 0), the proximal step of ξ |v|, with zeros that are exact. */
export const softThreshold = (v: ShapedValue, xi: ShapedValue, ops: Ops): ShapedValue =>
  ops.sub(ops.max(ops.sub(v, xi), 0), ops.max(ops.sub(ops.neg(v), xi), 0));

/**
 * What the released code does instead: it moves v by ξ towards zero where |v| > ξ, and then clears what is below ξ. All
 * of ]-2ξ, 2ξ[ dies, but ±ξ itself, which neither step touches.
 */
export function officialThreshold(v: ShapedValue, xi: ShapedValue, ops: Ops): ShapedValue {
  const down = ops.where(ops.greater(v, xi), ops.sub(v, xi), v);
  const moved = ops.where(ops.less(down, ops.neg(xi)), ops.add(down, xi), down);
  return ops.where(ops.less(ops.abs(moved), xi), 0, moved);
}

/** Σ |g|: []. */
export const l1Norm = (gates: readonly ShapedValue[], ops: Ops): ShapedValue =>
  gates.map((g) => ops.sum(ops.abs(g), [0], { keepdims: false })).reduce((a, b) => ops.add(a, b));

export type Shape = 'linear' | 'log_linear' | 'exp_linear';

/** ξ of stage i of n, from 0: ξ₀ at the first and ξₙ at the last (algorithm 1). */
export function stageThreshold(shape: Shape, from: number, to: number, i: number, n: number): number {
  const part = i / (n - 1);
  const between = (x: number, y: number) => x + (y - x) * part;
  switch (shape) {
    case 'linear':
      return between(from, to);
    case 'log_linear':
      return Math.log(between(Math.exp(from), Math.exp(to)));
    case 'exp_linear':
      return Math.exp(between(Math.log(from), Math.log(to)));
  }
}
