import { PeftError } from '@peftjs/core';
import type { Matrix } from '@peftjs/core/tensor';

/** Of every four columns that follow each other, two are kept. */
export const groupColumns = 4;
export const keptOfGroup = 2;

/**
 * Marks in `pruned` the two of four entries with the smallest worth; of equals the later one goes.
 * @param worth of entry `at + i`, i from 0 to 3
 */
export function pruneGroup(worth: (i: number) => number, pruned: Uint8Array, at: number): void {
  const order = [0, 1, 2, 3].sort((a, b) => worth(b) - worth(a) || a - b);
  for (let i = 0; i < groupColumns; i++) pruned[at + order[i]!] = i < keptOfGroup ? 0 : 1;
}

/** @throws PeftError CONFIG_INVALID when the columns do not divide into groups of four */
export function requireGroups(columns: number): void {
  if (columns % groupColumns === 0) return;
  throw new PeftError(
    'CONFIG_INVALID',
    `Two of four columns cannot be kept of ${columns}: the number must be a multiple of ${groupColumns}.`,
    { details: { columns } },
  );
}

/** Which entries go when the two largest magnitudes of every four are kept: 1 is pruned. Rows × columns. */
export function magnitudePruned({ rows, columns, data }: Matrix): Uint8Array {
  requireGroups(columns);
  const pruned = new Uint8Array(rows * columns);
  for (let at = 0; at < data.length; at += groupColumns) pruneGroup((i) => Math.abs(data[at + i]!), pruned, at);
  return pruned;
}
