import type { Ops, ShapedValue } from '@peftjs/core';

// a: r × in, b: out × r, s: the scale, k: r × r.

/** s = α / r (Hu et al. 2021, section 4.1), or α / √r (Kalajdzievski 2023, theorem 3.2). */
export const scale = (alpha: number, r: number, stabilised: boolean): number => alpha / (stabilised ? Math.sqrt(r) : r);

/** ΔW = s B A: out × in (Hu et al. 2021, eq. 3). */
export const delta = (a: ShapedValue, b: ShapedValue, s: number, ops: Ops): ShapedValue => ops.mul(ops.matmul(b, a), s);

/** x ΔWᵀ = s (x Aᵀ) Bᵀ without forming ΔW: [rows, in] -> [rows, out]. */
export const apply = (x: ShapedValue, a: ShapedValue, b: ShapedValue, s: number, ops: Ops): ShapedValue =>
  ops.gemm(ops.gemm(x, a, undefined, { transB: true }), b, undefined, { transB: true, alpha: s });

/** The same for ids [rows]: one-hot rows pick columns of A, s A[:, ids]ᵀ Bᵀ. [rows, out] */
export const applyToIds = (ids: ShapedValue, a: ShapedValue, b: ShapedValue, s: number, ops: Ops): ShapedValue =>
  ops.gemm(ops.gather(a, ids, 1), b, undefined, { transA: true, transB: true, alpha: s });

/** The gradient of B for the nearest change of W: g_B (A Aᵀ)⁻¹ / s² (Zhang et al. 2023, section 3.2; k holds the factor). */
export const correctedGradient = (g: ShapedValue, k: ShapedValue, ops: Ops): ShapedValue => ops.matmul(g, k);
