import type { Draws, Floats } from './plain.js';
import * as plain from './plain.js';
import { reserved, scratchMemory } from './scratch.js';
import { type VectorKernels, vectorKernels } from './vectors.js';

export { bitsOf, type Draws, magnitude } from './plain.js';
export { floats, halves, inTile, scratchBytes, words, zeros } from './scratch.js';

/**
 * The kernels: on vectors where all arrays lie in the scratch memory and their length leaves no remainder, else one
 * number after the other. The bytes are the same. What each computes is told in plain.ts.
 */

type Numbers = Floats | Uint16Array | Uint32Array;

/** Numbers that one step of a vector kernel takes at most. */
const step = 64;

/** The vector kernels, if these arrays can be theirs. */
function vectors(...arrays: readonly Numbers[]): VectorKernels | undefined {
  if (arrays[0]!.length % step !== 0) return undefined;
  const memory = scratchMemory();
  return memory && arrays.every(({ buffer }) => buffer === memory.buffer) ? vectorKernels(memory) : undefined;
}

const at = ({ byteOffset }: Numbers): number => byteOffset;

export function widenBf16(out: Floats, halves: Uint16Array): void {
  const v = vectors(out, halves);
  if (v) v.widenBf16(at(out), at(halves), out.length);
  else plain.widenBf16(out, halves);
}

export function narrowBf16(out: Uint16Array, values: Floats): void {
  const v = vectors(out, values);
  if (v) v.narrowBf16(at(out), at(values), out.length);
  else plain.narrowBf16(out, values);
}

export function reaches(values: Floats, limit: number): boolean {
  const v = vectors(values);
  return v ? v.reaches(at(values), limit, values.length) !== 0 : plain.reaches(values, limit);
}

export function subtract(out: Floats, a: Floats, b: Floats): void {
  const v = vectors(out, a, b);
  if (v) v.subtract(at(out), at(a), at(b), out.length);
  else plain.subtract(out, a, b);
}

export function scale(x: Floats, w: number): void {
  const v = vectors(x);
  if (v) v.scale(at(x), w, x.length);
  else plain.scale(x, w);
}

export function addScaled(sum: Floats, x: Floats, w: number): void {
  const v = vectors(sum, x);
  if (v) v.addScaled(at(sum), at(x), w, sum.length);
  else plain.addScaled(sum, x, w);
}

/** Of the reserved bytes the first are for random words, the others for the table of a weighted sum. */
const wordBytes = 128;
const mostArrays = (reserved - wordBytes) / 16;

/** Writes the table of a weighted sum. */
function tableOf(arrays: readonly Floats[], weights: readonly number[]): number {
  const table = new DataView(arrays[0]!.buffer, wordBytes);
  for (const [i, x] of arrays.entries()) {
    table.setInt32(16 * i, at(x), true);
    table.setFloat64(16 * i + 8, weights[i]!, true);
  }
  return wordBytes;
}

export function weightedSum(out: Floats, arrays: readonly Floats[], weights: readonly number[]): void {
  const v = arrays.length <= mostArrays ? vectors(out, ...arrays) : undefined;
  if (v) v.weightedSum(at(out), tableOf(arrays, weights), arrays.length, out.length);
  else plain.weightedSum(out, arrays, weights);
}

export function keepFrom(values: Floats, bits: number, equal: number): void {
  const v = vectors(values);
  if (v) v.keepFrom(at(values), bits, equal, values.length);
  else plain.keepFrom(values, bits, equal);
}

export function findBits(indices: Uint32Array, values: Floats, mask: number, bits: number): number {
  const v = vectors(values, indices);
  return v
    ? v.findBits(at(indices), at(values), mask, bits, values.length)
    : plain.findBits(indices, values, mask, bits);
}

export function toSigns(x: Floats, undecided: number): void {
  const v = vectors(x);
  if (v) v.toSigns(at(x), undecided, x.length);
  else plain.toSigns(x, undecided);
}

export function addAgreeing(sum: Floats, shares: Floats, x: Floats, signs: Floats, agreement: plain.Agreement): void {
  const v = vectors(sum, shares, x, signs);
  const { w, share, turned } = agreement;
  if (v) v.addAgreeing(at(sum), at(shares), at(x), at(signs), w, share, turned, sum.length);
  else plain.addAgreeing(sum, shares, x, signs, agreement);
}

export function divide(sum: Floats, shares: Floats, least: number): void {
  const v = vectors(sum, shares);
  if (v) v.divide(at(sum), at(shares), least, sum.length);
  else plain.divide(sum, shares, least);
}

export function sum(x: Floats): number {
  const v = vectors(x);
  return v ? v.sum(at(x), x.length) : plain.sum(x);
}

export function norm1(x: Floats): number {
  const v = vectors(x);
  return v ? v.norm1(at(x), x.length) : plain.norm1(x);
}

export function dot(a: Floats, b: Floats): number {
  const v = vectors(a, b);
  return v ? v.dot(at(a), at(b), a.length) : plain.dot(a, b);
}

export function dropAtRandom(values: Floats, draws: Draws): void {
  const v = draws.offset % step === 0 ? vectors(values) : undefined;
  const { bytes, rest, sure, border, offset } = draws;
  if (v) v.dropAtRandom(at(values), 0, ...bytes.key, ...rest.key, sure, border, offset, values.length);
  else plain.dropAtRandom(values, draws);
}
