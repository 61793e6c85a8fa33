import type { Random } from '@peftjs/core';
import { dropAtRandom } from './kernels/index.js';

/** The same stream; forks of one name are made once. */
export function withForks(rng: Random): Random {
  const made = new Map<string, Random>();
  return {
    ...rng,
    fork(...labels) {
      const name = JSON.stringify(labels);
      const found = made.get(name) ?? withForks(rng.fork(...labels));
      made.set(name, found);
      return found;
    },
  };
}

const fraction = (word: number): number => (word >>> 8) * 2 ** -24;

/** Uniform numbers in [0, 1) for elements `offset` to `offset + count` of a tensor: the same however it is cut. */
export function uniformDraws(rng: Random, id: string, offset: number, count: number): Float32Array {
  const words = rng.fork(id).bits(count, offset);
  const out = new Float32Array(count);
  for (let j = 0; j < count; j++) out[j] = fraction(words[j]!);
  return out;
}

/**
 * Sets elements to 0 in place, each but with probability ρ: element j of a tensor stays when its draw u < ρ, however the
 * tensor is cut. u = (byte j of the stream + v) / 256; v, a word of another stream, is only drawn where the byte alone
 * does not decide, so four elements share a word of random bits.
 * @param offset row-major index of the first value in the tensor
 */
export function keepAtRandom(values: Float32Array, rho: number, rng: Random, id: string, offset: number): void {
  if (rho >= 1) return;
  const stream = rng.fork(id);
  const sure = Math.floor(rho * 256);
  const border = rho * 256 - sure;
  dropAtRandom(values, { bytes: stream, rest: stream.fork('rest'), sure, border, offset });
}
