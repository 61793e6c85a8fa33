import { createRandom, eachLargest, largest } from '@peftjs/core';
import { describe, expect, it } from 'vitest';

const never = Number.NEGATIVE_INFINITY;
const scores = (values: ArrayLike<number>) => ({ length: values.length, at: (i: number) => values[i]! });

/** The same by sorting everything. */
function sorted(sources: readonly ArrayLike<number>[], k: number): number[][] {
  const all = sources.flatMap((values, source) =>
    Array.from(values, (value, i) => ({ value: Math.fround(value), source, i })),
  );
  const order = all
    .filter(({ value }) => value !== never)
    .sort((a, b) => b.value - a.value || a.source - b.source || a.i - b.i);
  const chosen = order.slice(0, k);
  return sources.map((_, source) =>
    chosen
      .filter((one) => one.source === source)
      .map(({ i }) => i)
      .sort((a, b) => a - b),
  );
}

describe('largest', () => {
  const rng = createRandom(7);
  const normal = [300, 1, 77].map((n, i) => rng.fork(i).normal([n]).data as Float32Array);
  // Few different values, so that most cuts go through ties.
  const tied = [40, 60].map((n, i) => (rng.fork('tied', i).normal([n]).data as Float32Array).map(Math.round));

  it.each([0, 1, 2, 50, 100, 377, 378, 379])('finds the %i largest over all sources as sorting does', (k) => {
    expect(largest(normal.map(scores), k)).toEqual(sorted(normal, k));
    expect(largest(tied.map(scores), k)).toEqual(sorted(tied, k));
  });

  it('takes earlier sources and lower positions first where scores are equal', () => {
    expect(largest([scores([1, 2, 1]), scores([1, 3])], 3)).toEqual([[0, 1], [1]]);
    expect(largest([scores([0, 0]), scores([0])], 2)).toEqual([[0, 1], []]);
  });

  it('calls in the order of sources and positions', () => {
    const seen: string[] = [];
    eachLargest([scores([1, 3]), scores([2, 3])], 3, (i, source) => seen.push(`${source} ${i}`));
    expect(seen).toEqual(['0 1', '1 0', '1 1']);
  });

  it('never takes what must not be chosen, and no more than there is', () => {
    expect(largest([scores([never, 5, never, -1])], 4)).toEqual([[1, 3]]);
    expect(largest([scores([never])], 1)).toEqual([[]]);
    expect(largest([], 3)).toEqual([]);
  });

  it('tells numbers apart that differ in their last bit, from the smallest to infinity', () => {
    const next = Math.fround(1 + 2 ** -23);
    expect(largest([scores([1, next, 1])], 1)).toEqual([[1]]);
    expect(largest([scores([2 ** -149, 0, Number.POSITIVE_INFINITY, 3e38])], 3)).toEqual([[0, 2, 3]]);
    expect(largest([scores([-1, -next, -(2 ** -149), -3e38])], 2)).toEqual([[0, 2]]);
    expect(largest([scores([-0, 0, -1e-50])], 2)).toEqual([[0, 1]]);
  });
});
