import {
  denseTerm,
  f32,
  indexRef,
  type Ops,
  type Random,
  type ShapedValue,
  sparseTerm,
  type Tensor,
  type Term,
  tensorRef,
} from '@peftjs/core';

/** The largest float32: a limit that no number exceeds, and that a graph can hold. */
const largest = (2 - 2 ** -23) * 2 ** 127;

/**
 * h: the magnitude that ⌊sparsity · n⌋ of the n numbers do not exceed, halfway to the next larger one, so that rounding
 * decides nothing (Liu et al. 2024, section 3.2). With all of them there is no limit.
 */
export function thresholdOf(theta: Tensor, sparsity: number): number {
  const magnitudes = Float32Array.from(theta.data as Float32Array, Math.abs).sort();
  const k = Math.floor(magnitudes.length * sparsity);
  if (k === magnitudes.length) return largest;
  const next = magnitudes[k]!;
  return k === 0 ? next / 2 : (magnitudes[k - 1]! + next) / 2;
}

/** m: 1 where |θ| ≤ h, 0 elsewhere (eq. 5). θ = w + d, as it is before it is moved. */
export function maskOf(w: Tensor, d: Tensor, h: number): Uint8Array {
  const [start, change] = [w.data as Float32Array, d.data as Float32Array];
  const m = new Uint8Array(start.length);
  for (let i = 0; i < m.length; i++) m[i] = Math.abs(start[i]! + change[i]!) <= h ? 1 : 0;
  return m;
}

/** Whether no number of a weight that nothing has moved is within h. */
export const trainsNothing = (w: Tensor, h: number): boolean => (w.data as Float32Array).every((x) => Math.abs(x) > h);

/** m ⊙ z: z is drawn for the numbers that m keeps, in their order, and for no others. */
export function masked(m: Uint8Array, shape: readonly number[], rng: Pick<Random, 'normal'>): Tensor {
  let count = 0;
  for (let i = 0; i < m.length; i++) count += m[i]!;
  const z = rng.normal([count]).data as Float32Array;
  const data = new Float32Array(m.length);
  for (let i = 0, k = 0; i < m.length; i++) if (m[i]) data[i] = z[k++]!;
  return f32(shape, data);
}

/** ΔW: its changed numbers with their places, or all of them where that takes no more bytes. */
export function changeTerm(d: Tensor): Term {
  const data = d.data as Float32Array;
  let changed = 0;
  for (let i = 0; i < data.length; i++) if (data[i] !== 0) changed++;
  if (2 * changed >= data.length) return denseTerm(tensorRef(d));
  const indices = new Float64Array(changed);
  for (let i = 0, k = 0; i < data.length; i++) if (data[i] !== 0) indices[k++] = i;
  const values = Float32Array.from(indices, (i) => data[i]!);
  return sparseTerm({ indices: indexRef(indices, data.length), values: tensorRef(f32([changed], values)) });
}

/** g + λ m ⊙ θ: weight decay of what the step moves, and of nothing else (MeZO, Malladi et al. 2023, algorithm 1). */
export function decayed(
  g: ShapedValue,
  { w, d }: { readonly w: ShapedValue; readonly d: ShapedValue },
  { lambda, h }: { readonly lambda: number; readonly h: number },
  ops: Ops,
): ShapedValue {
  const theta = ops.add(w, d);
  return ops.add(g, ops.mul(ops.where(ops.lessOrEqual(ops.abs(theta), h), theta, 0), lambda));
}
