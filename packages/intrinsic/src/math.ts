import { createRandom } from '@peftjs/core';

// P: numbers × dimension, entries ±1 by the bits of a seed: bit j mod 32 of word ⌊j / 32⌋ of a number's words.
// Columns of signs are nearly orthogonal, as Gaussian ones are (Achlioptas 2003); scaled by 1 / √D they have length 1.

/** Numbers whose signs are in memory at a time. */
const chunk = 4096;

/** Calls `use` for every number with its words of signs: `words` from `at` on. */
function eachRow(
  seed: bigint,
  { numbers, dimension }: { readonly numbers: number; readonly dimension: number },
  use: (number: number, words: Uint32Array, at: number) => void,
): void {
  const random = createRandom(seed);
  const perRow = Math.ceil(dimension / 32);
  for (let from = 0; from < numbers; from += chunk) {
    const rows = Math.min(chunk, numbers - from);
    const words = random.bits(rows * perRow, from * perRow);
    for (let row = 0; row < rows; row++) use(from + row, words, row * perRow);
  }
}

/** P d, unscaled: [numbers] (Aghajanyan et al. 2020, eq. 1). */
export function project(seed: bigint, numbers: number, d: Float32Array): Float64Array {
  const out = new Float64Array(numbers);
  const whole = d.reduce((sum, value) => sum + value, 0);
  eachRow(seed, { numbers, dimension: d.length }, (i, words, at) => {
    // Σ ±d = 2 Σ d where the sign is + minus Σ d.
    let plus = 0;
    for (let j = 0; j < d.length; j++) if ((words[at + (j >>> 5)]! >>> (j & 31)) & 1) plus += d[j]!;
    out[i] = 2 * plus - whole;
  });
  return out;
}

/** Pᵀ g, unscaled: [dimension]. */
export function pullBack(seed: bigint, g: Float32Array, dimension: number): Float64Array {
  const plus = new Float64Array(dimension);
  let whole = 0;
  eachRow(seed, { numbers: g.length, dimension }, (i, words, at) => {
    const value = g[i]!;
    whole += value;
    for (let j = 0; j < dimension; j++) if ((words[at + (j >>> 5)]! >>> (j & 31)) & 1) plus[j] = plus[j]! + value;
  });
  return plus.map((sum) => 2 * sum - whole);
}
