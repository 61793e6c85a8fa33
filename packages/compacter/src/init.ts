import { type Random, type Tensor, zeros } from '@peftjs/core';
import { type Letters, shapesOf } from './letters.js';

/** Glorot-uniform with gain √2 for each of n vectors that lead from one number to `size` or back, as in the authors' code. */
function glorot(rng: Random, shape: readonly number[]): Tensor {
  const [, rows = 1, columns = 1] = shape;
  const bound = Math.SQRT2 * Math.sqrt(6 / (rows + columns));
  return rng.uniform(shape, -bound, bound);
}

/** One target's own tensors: all but the shared matrices. */
export function startLayers(n: number, width: number, k: number, rng: Random): Omit<Letters<Tensor>, 'a'> {
  const shapes = shapesOf(n, width, k);
  const drawn = (letter: 'downS' | 'downT' | 'upS' | 'upT') => glorot(rng.fork(letter), shapes[letter]);
  return {
    downS: drawn('downS'),
    downT: drawn('downT'),
    downB: zeros(shapes.downB),
    upS: drawn('upS'),
    upT: drawn('upT'),
    upB: zeros(shapes.upB),
  };
}
