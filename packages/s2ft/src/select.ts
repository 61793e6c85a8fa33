/** One unit of one target. */
export interface Candidate {
  readonly path: string;
  readonly unit: number;
  readonly score: number;
}

/**
 * The k candidates with the largest (or smallest) scores over all targets together; among equal ones the earlier. Targets
 * get unequal numbers, some none, as in the authors' code.
 */
export function choose(candidates: readonly Candidate[], k: number, largest: boolean): Map<string, number[]> {
  const sign = largest ? -1 : 1;
  const order = [...candidates.keys()].sort((a, b) => sign * (candidates[a]!.score - candidates[b]!.score) || a - b);
  const chosen = new Map<string, number[]>();
  for (const i of order.slice(0, k)) {
    const { path, unit } = candidates[i]!;
    chosen.set(path, [...(chosen.get(path) ?? []), unit]);
  }
  return chosen;
}
