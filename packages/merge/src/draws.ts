import type { Random } from '@peftjs/core';

/** Uniform numbers in [0, 1) for elements `offset` to `offset + count` of a tensor: the same however it is cut. */
export function uniformDraws(rng: Random, id: string, offset: number, count: number): Float32Array {
  const words = rng.fork(id).bits(count, offset);
  const out = new Float32Array(count);
  for (let j = 0; j < count; j++) out[j] = (words[j]! >>> 8) * 2 ** -24;
  return out;
}
