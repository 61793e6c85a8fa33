import { Problems } from '../errors.js';

/** How much of an update to keep. Both given: the smallest rank that holds the energy, and no more than the rank. */
export interface Truncation {
  /** Largest rank, 1 or more. */
  readonly rank?: number | undefined;
  /** Share of the energy (sum of squares, ‖ΔW‖²) to keep, over 0 and up to 1. */
  readonly energy?: number | undefined;
}

export const truncates = ({ rank, energy }: Truncation): boolean => rank !== undefined || energy !== undefined;

/** @throws PeftError CONFIG_INVALID */
export function checkTruncation({ rank, energy }: Truncation): void {
  const problems = new Problems();
  if (rank !== undefined && !(Number.isInteger(rank) && rank >= 1))
    problems.add(`rank is ${rank}; it must be a whole number from 1.`);
  if (energy !== undefined && !(energy > 0 && energy <= 1))
    problems.add(`energy is ${energy}; it is the share to keep, over 0 and up to 1.`);
  problems.throwIfAny('CONFIG_INVALID', 'The truncation');
}

export interface Kept {
  readonly rank: number;
  /** Share of the energy that is lost, from 0 to 1. */
  readonly discarded: number;
}

/**
 * The rank to keep of singular values, descending: the smallest whose share of the energy is enough. Values that are
 * rounding of the decomposition are never kept; a zero update keeps rank 1, since files have no rank 0.
 * @param whole the energy of the update, where the values do not have all of it
 */
export function keptRank(s: Float64Array, { rank = s.length, energy = 1 }: Truncation, whole = sumOfSquares(s)): Kept {
  const floor = (s[0] ?? 0) * Number.EPSILON * 16 * s.length;
  const full = s.reduce((count, x) => (x > floor ? count + 1 : count), 0);
  const most = Math.min(rank, full);
  let kept = 0;
  let sum = 0;
  while (kept < most && sum < energy * whole) sum += s[kept++]! ** 2;
  // Summed from the small end, so that a tiny loss is not the rounding of a large sum.
  const lost = kept === full ? 0 : sumOfSquares(s.subarray(kept));
  const beyond = Math.max(0, whole - sumOfSquares(s));
  return { rank: Math.max(1, kept), discarded: whole > 0 ? Math.min(1, (lost + beyond) / whole) : 0 };
}

export function sumOfSquares(x: ArrayLike<number>): number {
  let sum = 0;
  for (let i = x.length - 1; i >= 0; i--) sum += x[i]! * x[i]!;
  return sum;
}
