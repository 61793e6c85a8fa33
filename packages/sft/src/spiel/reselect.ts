import { largest } from '@peftjs/core';

/** Coordinates of a parameter, ascending, with the change of each. */
export interface Active {
  readonly indices: ArrayLike<number>;
  readonly values: Float32Array;
}

export interface Reselected {
  /** Ascending. */
  readonly indices: readonly number[];
  /** For each of them the place it had before; -1 where it is new. */
  readonly from: readonly number[];
}

/**
 * Drops the `count` coordinates that changed least and grows as many others. What is dropped and grown at once stays
 * as it is; where there are too few to grow, the largest of those to be dropped stay. Of equal changes those at higher
 * indices go first.
 * @param grow the best new coordinates, at most `count`, none of which is in `stays`
 */
export function reselect(
  { indices, values }: Active,
  count: number,
  grow: (stays: ReadonlySet<number>, count: number) => readonly number[],
): Reselected {
  const magnitude = { length: values.length, at: (i: number) => Math.abs(values[i]!) };
  const [kept] = largest([magnitude], values.length - count) as [number[]];
  const grown = grow(new Set(kept.map((i) => indices[i]!)), count);
  const place = new Map(Array.from(indices, (index, i) => [index, i]));
  const staying = new Set([...kept, ...grown.flatMap((index) => place.get(index) ?? [])]);
  const missing = { ...magnitude, at: (i: number) => (staying.has(i) ? Number.NEGATIVE_INFINITY : magnitude.at(i)) };
  const [spared] = largest([missing], count - grown.length) as [number[]];
  const all = [...[...staying, ...spared].map((i) => indices[i]!), ...grown.filter((index) => !place.has(index))];
  all.sort((a, b) => a - b);
  return { indices: all, from: all.map((index) => place.get(index) ?? -1) };
}

/** Numbers of the old coordinates at the places of the new ones; `fresh` gives those of new coordinates. */
export const carriedOver = (
  { indices, from }: Reselected,
  numbers: ArrayLike<number>,
  fresh: (index: number) => number = () => 0,
): Float32Array => Float32Array.from(from, (i, k) => (i < 0 ? fresh(indices[k]!) : numbers[i]!));
