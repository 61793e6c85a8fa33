import {
  f32,
  PeftError,
  packInt4,
  type Tensor,
  type TensorRef,
  tensor,
  tensorRef,
  toF32,
  unpackI4,
} from '@peftjs/core';
import type { widths } from './config.js';

/** Largest magnitude of a rounded coefficient. */
const largest = { 8: 127, 4: 7 } as const;

export type Bits = (typeof widths)[number];

/** Coefficients as they are saved: f32, or whole steps of i8 or two to a byte of u8. */
export interface Saved {
  readonly tensor: TensorRef;
  /** What a whole number stands for; 1 for f32. */
  readonly step: number;
}

/** Rounds to the nearest whole number, halves to the even one. */
function rounded(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * Symmetric, by the largest magnitude: step = max |c| / 127 (or 7), q = round(c / step), halves to even.
 * @throws PeftError TRAINING_DIVERGED when a coefficient to be rounded is not finite
 */
export function save(coefficients: Tensor, bits: Bits): Saved {
  if (bits === 32) return { tensor: tensorRef(coefficients), step: 1 };
  const values = coefficients.data as Float32Array;
  const stray = values.find((x) => !Number.isFinite(x));
  if (stray !== undefined)
    throw new PeftError(
      'TRAINING_DIVERGED',
      `nola: a coefficient is ${stray}, which has no rounding to ${bits} bits: train with a lower rate, or save with bits 32.`,
    );
  const step = Math.fround(values.reduce((max, x) => Math.max(max, Math.abs(x)), 0) / largest[bits]) || 1;
  const whole = Int8Array.from(values, (x) => Math.max(-largest[bits], Math.min(largest[bits], rounded(x / step))));
  const packed = bits === 4 ? packInt4(whole) : whole;
  return { tensor: tensorRef(tensor(bits === 4 ? 'u8' : 'i8', [packed.length], packed)), step };
}

/** Shape and type of saved coefficients. */
export const savedForm = (count: number, bits: Bits): { dtype: 'f32' | 'i8' | 'u8'; length: number } =>
  bits === 4 ? { dtype: 'u8', length: Math.ceil(count / 2) } : { dtype: bits === 8 ? 'i8' : 'f32', length: count };

/** The coefficients again: q · step in float32. */
export async function load({ tensor: ref, step }: Saved, count: number, bits: Bits): Promise<Float32Array> {
  const read = await ref.read();
  if (bits === 32) return toF32(read).data;
  const whole = bits === 4 ? unpackI4(read.data as Uint8Array, count) : (read.data as Int8Array);
  return f32(
    [count],
    Float32Array.from(whole, (q) => q * step),
  ).data as Float32Array;
}
