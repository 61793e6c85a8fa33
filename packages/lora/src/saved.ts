import { f32, type Ops, type Params, type ShapedValue, type Tensor, toF32 } from '@peftjs/core';

// What acts and is saved: [A; A₀] (2r × in) and [B, -B₀] (out × 2r) where the start is subtracted, else A and B.

/** In a graph. */
export const actingFactors = (p: Params<ShapedValue>, ops: Ops): { a: ShapedValue; b: ShapedValue } =>
  p.a0 ? { a: ops.concat([p.a!, p.a0], 0), b: ops.concat([p.b!, ops.neg(p.b0!)], 1) } : { a: p.a!, b: p.b! };

/** As numbers. */
export function savedFactors(p: Params<Tensor>): { a: Tensor; b: Tensor } {
  const { a, b, a0, b0 } = p as { a: Tensor; b: Tensor; a0?: Tensor; b0?: Tensor };
  if (!a0 || !b0) return { a, b };
  const [r, n] = a.shape as [number, number];
  const [m] = b.shape as [number];
  const below = new Float32Array(2 * r * n);
  below.set(a.data as Float32Array);
  below.set(a0.data as Float32Array, r * n);
  const beside = new Float32Array(m * 2 * r);
  for (let i = 0; i < m; i++)
    for (let k = 0; k < r; k++) {
      beside[2 * r * i + k] = Number(b.data[i * r + k]);
      beside[2 * r * i + r + k] = -Number(b0.data[i * r + k]);
    }
  return { a: f32([2 * r, n], below), b: f32([m, 2 * r], beside) };
}

/** The factors of rank r again, from those that were saved. */
export function readFactors(saved: { readonly a: Tensor; readonly b: Tensor }, r: number): Params<Tensor> {
  const [a, b] = [toF32(saved.a), toF32(saved.b)];
  const [rows, n] = a.shape as [number, number];
  if (rows !== 2 * r) return { a, b };
  const m = b.shape[0]!;
  const half = (from: number, sign: number) =>
    f32(
      [m, r],
      Float32Array.from({ length: m * r }, (_, i) => sign * b.data[Math.floor(i / r) * 2 * r + from + (i % r)]!),
    );
  return {
    a: f32([r, n], a.data.slice(0, r * n)),
    b: half(0, 1),
    a0: f32([r, n], a.data.slice(r * n)),
    b0: half(r, -1),
  };
}
