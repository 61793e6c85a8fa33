import { f32, type Params, PeftError, type Target, type Tensor, type Term, toF32 } from '@peftjs/core';
import { type IncreloraSettings, slotsOf } from './config.js';
import { firstSlots } from './growth.js';
import { scale } from './math.js';

interface Where {
  readonly target: Target;
  readonly c: IncreloraSettings;
  /** The tensors of a fresh start: what is in the slots behind the saved pieces. */
  readonly fresh: Params<Tensor>;
}

/**
 * The pieces of a saved update in the first slots, all of them grown. E was folded into A: a row of A has length 1 again,
 * as the regulariser wants it, and E is what it was long.
 * @throws PeftError ADAPTER_MISMATCH when there are more pieces than slots
 */
export async function savedPieces({ tensors, meta }: Term, { target, c, fresh }: Where): Promise<Params<Tensor>> {
  const [A, B] = [toF32(await tensors.a!.read()), toF32(await tensors.b!.read())];
  const [k, n] = A.shape as readonly [number, number];
  const m = B.shape[0]!;
  const slots = slotsOf(c, target);
  if (k > slots)
    throw new PeftError(
      'ADAPTER_MISMATCH',
      `increlora: "${target.path}" has rank ${k} in the adapter, and room for ${slots} here: raise maxRank.`,
    );
  const [a, b, e] = ['a', 'b', 'e'].map((letter) => Float32Array.from(fresh[letter]!.data as Float32Array));
  const ratio = Number(meta.scale) / scale(c.alpha, k);
  for (let slot = 0; slot < k; slot++) {
    const row = (A.data as Float32Array).subarray(slot * n, (slot + 1) * n);
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    e![slot] = ratio * length;
    if (length > 0) for (let i = 0; i < n; i++) a![slot * n + i] = row[i]! / length;
    for (let o = 0; o < m; o++) b![slot * m + o] = Number(B.data[o * k + slot]);
  }
  const first = firstSlots(slots, k);
  return { a: f32([slots, n], a!), b: f32([slots, m], b!), e: f32([slots], e!), grown: first, present: first };
}
