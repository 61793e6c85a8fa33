import { f32, type Ops, type ShapedValue, type Tensor } from '@peftjs/core';

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

/** m ⊙ z: the direction where |θ| ≤ h, zero elsewhere (eq. 5). θ = w + d, as it is before it is moved. */
export function masked(z: Tensor, w: Tensor, d: Tensor, h: number): Tensor {
  const [start, change] = [w.data as Float32Array, d.data as Float32Array];
  return f32(
    z.shape,
    (z.data as Float32Array).map((value, i) => (Math.abs(start[i]! + change[i]!) <= h ? value : 0)),
  );
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
