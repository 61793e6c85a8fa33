import type { Ops, ShapedValue } from '@peftjs/core';
import type { Bases } from './bases.js';

// a: r × in, b: out × r, s: the scale α / r; coefficients: k. Koohpayegani et al. 2023 (arXiv 2310.02556), section 3.

/** ΔW = s B A: out × in. */
export const delta = (a: ShapedValue, b: ShapedValue, s: number, ops: Ops): ShapedValue => ops.mul(ops.matmul(b, a), s);

/** x ΔWᵀ = s (x Aᵀ) Bᵀ: [rows, in] -> [rows, out]. */
export const apply = (x: ShapedValue, a: ShapedValue, b: ShapedValue, s: number, ops: Ops): ShapedValue =>
  ops.gemm(ops.gemm(x, a, undefined, { transB: true }), b, undefined, { transB: true, alpha: s });

/** Elements of a basis worked on at a time: the sums and one basis's part of them stay in the first caches. */
const chunkLength = 4096;

/**
 * A = A₀ + Σ αᵢ Aᵢ, summed in double precision in the order of the bases, so that chunks do not change a bit.
 * @param start A₀; zero when not given
 */
export function combine({ size, fill }: Bases, coefficients: Float32Array, start?: Float32Array): Float32Array {
  const out = new Float32Array(size);
  const sums = new Float64Array(chunkLength);
  const part = new Float32Array(chunkLength);
  for (let from = 0; from < size; from += chunkLength) {
    const length = Math.min(chunkLength, size - from);
    const basis = part.subarray(0, length);
    if (start) for (let e = 0; e < length; e++) sums[e] = start[from + e]!;
    else sums.fill(0);
    for (let i = 0; i < coefficients.length; i++) {
      const c = coefficients[i]!;
      if (c === 0) continue;
      fill(i, from, basis);
      for (let e = 0; e < length; e++) sums[e] = sums[e]! + c * basis[e]!;
    }
    for (let e = 0; e < length; e++) out[from + e] = sums[e]!;
  }
  return out;
}

/** ∂L/∂αᵢ = ⟨∂L/∂A, Aᵢ⟩ for every basis. */
export function project({ count, size, fill }: Bases, d: Float32Array): Float32Array {
  const out = new Float32Array(count);
  const part = new Float32Array(chunkLength);
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let from = 0; from < size; from += chunkLength) {
      const length = Math.min(chunkLength, size - from);
      fill(i, from, part.subarray(0, length));
      for (let e = 0; e < length; e++) sum += d[from + e]! * part[e]!;
    }
    out[i] = sum;
  }
  return out;
}
