import { bf16ToF32, f32ToBf16, type Random } from '@peftjs/core';

/**
 * Arithmetic over runs of numbers of one length, in float32 where nothing else is said: each product, sum and quotient is
 * rounded. Arrays that are written come first.
 */

export type Floats = Float32Array;

/** The bits of floats, in the same memory. */
export const bitsOf = ({ buffer, byteOffset, length }: Floats): Uint32Array =>
  new Uint32Array(buffer, byteOffset, length);

/** All bits but the sign: as integers they order like magnitudes. */
export const magnitude = 0x7fffffff;

export function widenBf16(out: Floats, halves: Uint16Array): void {
  bf16ToF32(halves, out as Float32Array<ArrayBuffer>);
}

/** To the nearest, ties to even. */
export function narrowBf16(out: Uint16Array, values: Floats): void {
  f32ToBf16(values, out as Uint16Array<ArrayBuffer>);
}

/** Whether a magnitude reaches that of these bits; a NaN reaches all. */
export function reaches(values: Floats, limit: number): boolean {
  const bits = bitsOf(values);
  // The sign bit of a difference is set where a magnitude is as large.
  let reached = 0;
  for (let j = 0; j < bits.length; j++) reached |= limit - 1 - (bits[j]! & magnitude);
  return reached < 0;
}

/** out = a - b. */
export function subtract(out: Floats, a: Floats, b: Floats): void {
  for (let j = 0; j < out.length; j++) out[j] = a[j]! - b[j]!;
}

/** x *= w. */
export function scale(x: Floats, w: number): void {
  const factor = Math.fround(w);
  for (let j = 0; j < x.length; j++) x[j] = x[j]! * factor;
}

/** sum += w x. */
export function addScaled(sum: Floats, x: Floats, w: number): void {
  const factor = Math.fround(w);
  for (let j = 0; j < sum.length; j++) sum[j] = sum[j]! + Math.fround(factor * x[j]!);
}

/** Σ wᵢ xᵢ in float64, rounded once. */
export function weightedSum(out: Floats, arrays: readonly Floats[], weights: readonly number[]): void {
  const sums = new Float64Array(out.length);
  for (const [i, x] of arrays.entries()) {
    const w = weights[i]!;
    for (let j = 0; j < sums.length; j++) sums[j] = sums[j]! + w * x[j]!;
  }
  out.set(sums);
}

/** Sets to 0 what has magnitude bits below `bits`, and from index `equal` on also what has just these. */
export function keepFrom(values: Floats, bits: number, equal: number): void {
  const own = bitsOf(values);
  for (let j = 0; j < equal; j++) if ((own[j]! & magnitude) < bits) own[j] = 0;
  for (let j = equal; j < own.length; j++) if ((own[j]! & magnitude) <= bits) own[j] = 0;
}

/** Writes the indices of values whose bits under a mask are these. @returns how many */
export function findBits(indices: Uint32Array, values: Floats, mask: number, bits: number): number {
  const own = bitsOf(values);
  let count = 0;
  for (let j = 0; j < own.length; j++) if ((own[j]! & mask) === bits) indices[count++] = j;
  return count;
}

/** The sign of each number, -1 or 1, in place. @param undecided what 0 becomes */
export function toSigns(x: Floats, undecided: number): void {
  for (let j = 0; j < x.length; j++) x[j] = x[j]! > 0 ? 1 : x[j]! < 0 ? -1 : undecided;
}

/** What an element that agrees adds to the sum, by its factor, and to the shares. Turned, x has the other sign: -1, or 1. */
export interface Agreement {
  readonly w: number;
  readonly share: number;
  readonly turned: number;
}

/** Where x, turned, has the sign: sum += w x, and shares += share. */
export function addAgreeing(
  sum: Floats,
  shares: Floats,
  x: Floats,
  signs: Floats,
  { w, share, turned }: Agreement,
): void {
  const [factor, part] = [Math.fround(w), Math.fround(share)];
  for (let j = 0; j < sum.length; j++) {
    if (!(turned * x[j]! * signs[j]! > 0)) continue;
    sum[j] = sum[j]! + Math.fround(factor * x[j]!);
    shares[j] = shares[j]! + part;
  }
}

/** sum /= shares, where shares are at least `least` in magnitude. */
export function divide(sum: Floats, shares: Floats, least: number): void {
  const border = Math.fround(least);
  for (let j = 0; j < sum.length; j++) if (Math.abs(shares[j]!) >= border) sum[j] = sum[j]! / shares[j]!;
}

/** Four sums in turn, each of every fourth number, added pairwise at the end: the same whoever computes. */
function inFours(length: number, term: (j: number) => number): number {
  const sums = [0, 0, 0, 0];
  for (let j = 0; j < length; j++) sums[j & 3] = sums[j & 3]! + term(j);
  return sums[0]! + sums[2]! + (sums[1]! + sums[3]!);
}

/** Σ x, in float64. */
export const sum = (x: Floats): number => inFours(x.length, (j) => x[j]!);

/** Σ |x|, in float64. */
export const norm1 = (x: Floats): number => inFours(x.length, (j) => Math.abs(x[j]!));

/** Σ a b, in float64. */
export const dot = (a: Floats, b: Floats): number => inFours(a.length, (j) => a[j]! * b[j]!);

/** What decides whether element `offset + j` stays: `keepAtRandom` in draws.ts says how. */
export interface Draws {
  readonly bytes: Random;
  readonly rest: Random;
  /** Bytes below this keep, those above drop; this one keeps with the probability `border`. */
  readonly sure: number;
  readonly border: number;
  readonly offset: number;
}

/** Sets to 0 what a draw drops. */
export function dropAtRandom(values: Floats, { bytes, rest, sure, border, offset }: Draws): void {
  const skip = offset % 4;
  const words = bytes.bits(Math.ceil((skip + values.length) / 4), (offset - skip) / 4);
  for (let j = 0; j < values.length; j++) {
    const byte = (words[(skip + j) >> 2]! >>> (8 * ((skip + j) & 3))) & 255;
    if (byte < sure) continue;
    if (byte > sure || (rest.bits(1, offset + j)[0]! >>> 8) * 2 ** -24 >= border) values[j] = 0;
  }
}
