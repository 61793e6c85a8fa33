import type { Tensor } from '@peftjs/core';
import { fromTensor } from './reference/array.js';

/**
 * How far numbers may be apart; every limit given must hold for an element, and at least one must be given.
 * `absolute`: |got - expected|; `relative`: times |expected| of the element; `relToMax`: times the largest |expected|
 * of the tensor. `absolute` together with `relative` or `relToMax` is their sum, as in numpy.
 */
export interface Tolerance {
  readonly absolute?: number;
  readonly relative?: number;
  readonly relToMax?: number;
}

/** What a comparison found. `maxRel` is `maxAbs` over the largest |expected|. */
export interface Comparison {
  readonly close: boolean;
  readonly maxAbs: number;
  readonly maxRel: number;
  /** Index of the element furthest beyond its limit (or of the largest difference), one entry an axis. */
  readonly at: readonly number[];
  readonly expected: number;
  readonly got: number;
  /** Elements beyond their limit. */
  readonly beyond: number;
  readonly count: number;
  readonly message: string;
}

const unravel = (flat: number, shape: readonly number[]): number[] => {
  const at = new Array<number>(shape.length);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    at[axis] = flat % shape[axis]!;
    flat = Math.floor(flat / shape[axis]!);
  }
  return at;
};

const differ = (message: string, count: number): Comparison => ({
  close: false,
  maxAbs: Number.POSITIVE_INFINITY,
  maxRel: Number.POSITIVE_INFINITY,
  at: [],
  expected: Number.NaN,
  got: Number.NaN,
  beyond: count,
  count,
  message,
});

/** Compares two tensors of any dtypes by value. Equal infinities and two NaNs agree; shapes must be the same. */
export function compare(got: Tensor, expected: Tensor, tolerance: Tolerance): Comparison {
  const shape = `[${got.shape}]`;
  if (shape !== `[${expected.shape}]`) return differ(`shape ${shape}, expected [${expected.shape}]`, got.data.length);
  const a = fromTensor(got).data;
  const b = fromTensor(expected).data;
  let largest = 0;
  for (const v of b) if (Number.isFinite(v)) largest = Math.max(largest, Math.abs(v));

  const constant = (tolerance.absolute ?? 0) + (tolerance.relToMax ?? 0) * largest;
  let maxAbs = 0;
  let beyond = 0;
  let worst = 0;
  let worstExcess = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < b.length; i++) {
    const same = Object.is(a[i], b[i]) || a[i] === b[i];
    const difference = same ? 0 : Math.abs(a[i]! - b[i]!);
    const limit = constant + (tolerance.relative ?? 0) * Math.abs(b[i]!);
    const excess = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference - limit;
    if (!(difference <= limit)) beyond++;
    if (!(difference <= maxAbs)) maxAbs = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    if (excess > worstExcess) [worst, worstExcess] = [i, excess];
  }
  const maxRel = maxAbs === 0 ? 0 : maxAbs / largest;
  const at = unravel(worst, got.shape);
  const limits = Object.entries(tolerance).map(([name, value]) => `${name} ${value}`);
  return {
    close: beyond === 0,
    maxAbs,
    maxRel,
    at,
    expected: b[worst] ?? 0,
    got: a[worst] ?? 0,
    beyond,
    count: b.length,
    message:
      `largest difference ${maxAbs.toExponential(3)} (${maxRel.toExponential(2)} of the largest magnitude); ` +
      `worst at [${at}]: got ${a[worst]}, expected ${b[worst]}; ${beyond} of ${b.length} elements of shape ${shape} ` +
      `beyond ${limits.join(' + ') || 'equality'}`,
  };
}

/** A failed comparison, with its figures. */
export class NotCloseError extends Error {
  readonly comparison: Comparison;

  constructor(name: string, comparison: Comparison) {
    super(`${name}: ${comparison.message}`);
    this.name = 'NotCloseError';
    this.comparison = comparison;
  }
}

/** Throws with the largest difference, where it is and how many elements are beyond; returns the figures otherwise. */
export function expectClose(name: string, got: Tensor, expected: Tensor, tolerance: Tolerance): Comparison {
  const result = compare(got, expected, tolerance);
  if (!result.close) throw new NotCloseError(name, result);
  return result;
}

/** Throws unless both have the same dtype, shape and bytes. */
export function expectBitEqual(name: string, got: Tensor, expected: Tensor): void {
  if (got.dtype !== expected.dtype) throw new Error(`${name}: dtype ${got.dtype}, expected ${expected.dtype}`);
  const bytes = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const [a, b] = [bytes(got), bytes(expected)];
  const same = `[${got.shape}]` === `[${expected.shape}]` && a.length === b.length && a.every((v, i) => v === b[i]);
  if (!same) throw new NotCloseError(name, compare(got, expected, { absolute: 0 }));
}
