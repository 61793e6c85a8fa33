import type { Tensor } from '@peftjs/core';

export const i64 = (values: readonly number[]): Tensor => ({
  dtype: 'i64',
  shape: [values.length],
  data: BigInt64Array.from(values, BigInt),
});

export const numbersOf = (indices: Tensor): number[] => Array.from(indices.data as BigInt64Array, Number);

/** Where each of `extent` indices stands among the chosen ones; their number for those outside. */
export function placesOf(indices: readonly number[], extent: number): Tensor {
  const place = new Array<number>(extent).fill(indices.length);
  indices.forEach((index, k) => {
    place[index] = k;
  });
  return i64(place);
}
