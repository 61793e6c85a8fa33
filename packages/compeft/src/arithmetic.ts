import { PeftError } from '@peftjs/core';
import { forEachSurvivor, popcount, survivors, type Ternary } from './words.js';

/** A ternary vector and the magnitude of its survivors: s · t. */
export interface Scaled {
  readonly t: Ternary;
  readonly s: number;
}

function sameLength(a: Ternary, b: Ternary): void {
  if (a.n !== b.n) throw new PeftError('CONFIG_INVALID', `Vectors of ${a.n} and ${b.n} elements do not go together.`);
}

/** Elements where both are set: with the same sign, and with opposite signs. 32 elements a word. */
export function overlap(a: Ternary, b: Ternary): { readonly same: number; readonly opposite: number } {
  sameLength(a, b);
  let same = 0;
  let opposite = 0;
  for (let w = 0; w < a.plus.length; w++) {
    const [pa, na, pb, nb] = [a.plus[w]!, a.minus[w]!, b.plus[w]!, b.minus[w]!];
    same += popcount((pa & pb) | (na & nb));
    opposite += popcount((pa & nb) | (na & pb));
  }
  return { same, opposite };
}

/** ⟨a, b⟩ */
export function dot(a: Scaled, b: Scaled): number {
  const { same, opposite } = overlap(a.t, b.t);
  return a.s * b.s * (same - opposite);
}

/** ‖a‖² */
export const squaredNorm = ({ t, s }: Scaled): number => s * s * survivors(t);

/** ‖a − b‖² */
export const squaredDistance = (a: Scaled, b: Scaled): number => squaredNorm(a) + squaredNorm(b) - 2 * dot(a, b);

/** The cosine of the angle between a and b; NaN when one of them is zero. */
export function cosine(a: Scaled, b: Scaled): number {
  const norms = squaredNorm(a) * squaredNorm(b);
  return norms === 0 ? Number.NaN : dot(a, b) / Math.sqrt(norms);
}

/** Of the elements that both set, the part with opposite signs; NaN when they share none. */
export function signConflict(a: Ternary, b: Ternary): number {
  const { same, opposite } = overlap(a, b);
  return same + opposite === 0 ? Number.NaN : opposite / (same + opposite);
}

/** y += s · t, in place. */
export function addTo(y: Float32Array | Float64Array, { t, s }: Scaled): void {
  if (y.length !== t.n)
    throw new PeftError('CONFIG_INVALID', `${t.n} ternary elements do not add to ${y.length} numbers.`);
  forEachSurvivor(t, (i, positive) => {
    y[i] = y[i]! + (positive ? s : -s);
  });
}

/** y = s T x for a row-major T of rows × x.length: sums of gathered x, one product a row. */
export function matvec({ t, s }: Scaled, rows: number, x: ArrayLike<number>): Float64Array {
  if (rows * x.length !== t.n)
    throw new PeftError('CONFIG_INVALID', `${t.n} elements are no matrix of ${rows} × ${x.length}.`);
  const y = new Float64Array(rows);
  const columns = x.length;
  let row = 0;
  let end = columns;
  forEachSurvivor(t, (i, positive) => {
    while (i >= end) {
      row++;
      end += columns;
    }
    const value = x[i - end + columns]!;
    y[row] = y[row]! + (positive ? value : -value);
  });
  for (let o = 0; o < rows; o++) y[o] = y[o]! * s;
  return y;
}

/**
 * Merges as TIES does (Yadav et al. 2023, algorithm 1), on the masks: the sign of Σ sₘ tₘ is elected (0 counts as plus),
 * and every element is the mean over the experts that agree with it. Words where nobody has a survivor cost one test.
 */
export function electMean(experts: readonly Scaled[]): Float32Array {
  const [first] = experts;
  if (!first) throw new PeftError('CONFIG_INVALID', 'A merge needs at least one ternary vector.');
  for (const { t } of experts) sameLength(first.t, t);
  const y = new Float32Array(first.t.n);
  for (let w = 0; w < first.t.plus.length; w++) {
    let any = 0;
    for (const { t } of experts) any |= t.plus[w]! | t.minus[w]!;
    while (any !== 0) {
      const bit = any & -any;
      y[w * 32 + 31 - Math.clz32(bit)] = electOne(experts, w, bit);
      any ^= bit;
    }
  }
  return y;
}

/** One element of the merge. A negative s turns the sign of its expert. */
function electOne(experts: readonly Scaled[], w: number, bit: number): number {
  let positive = 0;
  let negative = 0;
  let ups = 0;
  let downs = 0;
  for (const { t, s } of experts) {
    const value = (t.plus[w]! & bit) !== 0 ? s : (t.minus[w]! & bit) !== 0 ? -s : 0;
    if (value > 0) {
      positive += value;
      ups++;
    } else if (value < 0) {
      negative += value;
      downs++;
    }
  }
  if (positive + negative >= 0) return ups === 0 ? 0 : positive / ups;
  return negative / downs;
}
