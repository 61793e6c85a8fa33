import { PeftError } from '@peftjs/core';

/** How the signs of several numbers become one: by the sum of the numbers, or by the number of signs. */
export type Election = 'total' | 'frequency';

/** The numbers whose mask is 1, times `factor`. */
export const masked = (x: Float64Array, mask: Uint8Array, factor = 1): Float64Array => {
  if (mask.length !== x.length)
    throw new PeftError('CONFIG_INVALID', `A mask of ${mask.length} elements was given for ${x.length} numbers.`);
  return x.map((value, i) => (mask[i] ? value * factor : 0));
};

/** 1 for the k numbers of largest magnitude; of equal ones at the border those of lower index. */
export function largest(x: Float64Array, k: number): Uint8Array {
  const mask = new Uint8Array(x.length);
  if (k <= 0) return mask;
  if (k >= x.length) return mask.fill(1);
  const magnitudes = x.map(Math.abs).sort();
  const border = magnitudes[x.length - k]!;
  let equal = k - (x.length - upper(magnitudes, border));
  for (let i = 0; i < x.length; i++) {
    const size = Math.abs(x[i]!);
    if (size > border || (size === border && equal-- > 0)) mask[i] = 1;
  }
  return mask;
}

/** Index of the first of ascending numbers that is over the limit. */
function upper(sorted: Float64Array, limit: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! > limit) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Σ wᵢ xᵢ. */
export function weightedSum(xs: readonly Float64Array[], weights: readonly number[]): Float64Array {
  const out = new Float64Array(xs[0]!.length);
  xs.forEach((x, k) => {
    for (let i = 0; i < out.length; i++) out[i] = out[i]! + weights[k]! * x[i]!;
  });
  return out;
}

/**
 * TIES without its trim (Yadav et al. 2023, section 3): the sign of each element is elected by all, numbers of the other
 * sign and zeros stay out, and the weighted rest is divided by how many there are.
 * NOTE: as in PEFT the election does not see the weights, a tie elects plus, and the weights are not normalised.
 */
export function disjointMean(
  xs: readonly Float64Array[],
  weights: readonly number[],
  election: Election,
): Float64Array {
  const out = new Float64Array(xs[0]!.length);
  for (let i = 0; i < out.length; i++) {
    let vote = 0;
    for (const x of xs) vote += election === 'total' ? x[i]! : Math.sign(x[i]!);
    const sign = vote >= 0 ? 1 : -1;
    let sum = 0;
    let count = 0;
    xs.forEach((x, k) => {
      if (Math.sign(x[i]!) !== sign) return;
      sum += weights[k]! * x[i]!;
      count++;
    });
    out[i] = count > 0 ? sum / count : 0;
  }
  return out;
}
