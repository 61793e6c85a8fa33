import type { Ops, ShapedValue } from '@peftjs/core';

// I: k chosen rows or columns, i64 [k]; place: where each index stands in I, k for those outside, i64 [extent].
// v: the block, k × in for rows, out × k for columns.

/** x with a column of zeros behind, its columns picked by `place`: the inverse of x[:, I]. */
const spreadColumns = (h: ShapedValue, place: ShapedValue, ops: Ops): ShapedValue =>
  ops.gather(ops.concat([h, ops.fill([h.shape[0]!, 1], 0, h.dtype)], 1), place, 1);

/**
 * Columns chosen: x ΔWᵀ = x[:, I] vᵀ. Only the chosen slice of x is kept for the gradient of v, and what goes on to x is
 * put back by picking, not by scattering.
 */
export function applyColumns(
  x: ShapedValue,
  v: ShapedValue,
  I: ShapedValue,
  place: ShapedValue,
  ops: Ops,
): ShapedValue {
  const slice = ops.macro(ops.gather(x, I, 1), [x], (d) => [spreadColumns(d, place, ops)]);
  return ops.gemm(slice, v, undefined, { transB: true });
}

/** Rows chosen: (x ΔWᵀ)[:, I] = x vᵀ, zero elsewhere. The gradient of v needs only dy[:, I]. */
export function applyRows(x: ShapedValue, v: ShapedValue, I: ShapedValue, place: ShapedValue, ops: Ops): ShapedValue {
  const h = ops.gemm(x, v, undefined, { transB: true });
  return ops.macro(spreadColumns(h, place, ops), [h], (d) => [ops.gather(d, I, 1)]);
}

/** ΔW, out × in: the block at its rows or columns. */
export function delta(v: ShapedValue, place: ShapedValue, axis: 0 | 1, ops: Ops): ShapedValue {
  const zeros = ops.fill(axis === 0 ? [1, v.shape[1]!] : [v.shape[0]!, 1], 0, v.dtype);
  return ops.gather(ops.concat([v, zeros], axis), place, axis);
}
