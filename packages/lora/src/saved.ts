import {
  f32,
  type Ops,
  type Params,
  Problems,
  type ShapedValue,
  scaled,
  type Target,
  type Tensor,
  type Term,
  toF32,
} from '@peftjs/core';
import type { LoraSettings } from './config.js';
import { startsFromWeight } from './plan.js';

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

/** A tensor of a term at the scale s: the term may have another one (an adapter that was scaled), which it then takes in. */
export async function atScale({ tensors, meta }: Term, name: string, s: number): Promise<Tensor> {
  return scaled(await tensors[name]!.read(), Number(meta.scale) / s);
}

/**
 * Whether what was saved is what the configuration trains.
 * @throws PeftError ADAPTER_MISMATCH where the same factors would mean another function
 */
export function requireSameFunction(target: Target, c: LoraSettings, { a, a0, m }: Params<Tensor>): void {
  const problems = new Problems();
  if (startsFromWeight(c) && !a0)
    problems.add(
      `init ${c.init} goes on from the difference of rank ${2 * c.r} that it saves, and this has rank ${a!.shape[0]}: leave init out, or set r as it was trained.`,
    );
  if (c.dora && !m) problems.add('DoRA goes on from its magnitudes, and this has none: leave dora out.');
  problems.throwIfAny('ADAPTER_MISMATCH', `lora cannot go on from the update of "${target.path}"`);
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
