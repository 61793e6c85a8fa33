import { PeftError } from '@peftjs/core';

/** max(1, ⌊fraction · min(rows, columns)⌋), as LASER chooses it (Sharma et al. 2023, section 3). */
export const rankForFraction = (fraction: number, rows: number, columns: number): number =>
  Math.max(1, Math.floor(fraction * Math.min(rows, columns)));

export interface Spectrum {
  readonly rows: number;
  readonly columns: number;
  /** Singular values, descending. */
  readonly s: ArrayLike<number>;
}

/**
 * Ranks for several matrices that together store at most `budget` values: the direction with the most energy for each
 * value it costs, σ² / (rows + columns), is taken as long as one fits. A rank may be 0.
 * @throws PeftError CONFIG_INVALID for a budget that is no number from 0
 */
export function allocateRanks(spectra: readonly Spectrum[], budget: number): number[] {
  if (!(budget >= 0)) throw new PeftError('CONFIG_INVALID', `A budget of ${budget} values cannot be spent.`);
  const directions = spectra.flatMap(({ rows, columns, s }, matrix) =>
    Array.from(s, (sigma) => ({ matrix, cost: rows + columns, worth: sigma ** 2 / (rows + columns) })),
  );
  directions.sort((a, b) => b.worth - a.worth || a.matrix - b.matrix); // stable: σ descends within a matrix
  const ranks = spectra.map(() => 0);
  let left = budget;
  for (const { matrix, cost, worth } of directions) {
    if (worth === 0 || cost > left) continue; // later directions of the same matrix cost the same: none is skipped over
    ranks[matrix]!++;
    left -= cost;
  }
  return ranks;
}
