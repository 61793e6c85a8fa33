import { clamp, roundHalfEven } from '../rounding.js';

/** Bits that codes can have. */
export const codeBits = [2, 3, 4, 8] as const;
export type CodeBits = (typeof codeBits)[number];

/** The code of 0. */
export const zeroOf = (bits: CodeBits): number => 2 ** (bits - 1);

/**
 * Scale of a run of weights: 2 max |w| / (2^bits − 1), 1 for a run of zeros. With zero at 2^(bits−1) the range is not
 * symmetric: at two bits the levels are −2, −1, 0 and 1 times the scale, so the largest positive weights are clipped.
 */
export function scaleOfRun(w: Float64Array, bits: CodeBits): number {
  const largest = w.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  const scale = (2 * largest) / (2 ** bits - 1);
  return Math.fround(scale) === 0 ? 1 : scale;
}

export const codeOf = (w: number, scale: number, bits: CodeBits): number =>
  clamp(roundHalfEven(w / scale) + zeroOf(bits), 0, 2 ** bits - 1);

/** The scale is stored in single precision. */
export const numberOf = (code: number, scale: number, bits: CodeBits): number =>
  Math.fround(scale) * (code - zeroOf(bits));
