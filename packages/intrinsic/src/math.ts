import { createRandom } from '@peftjs/core';

// P: numbers × dimension, entries ±1 by the bits of a seed: bit j mod 32 of word ⌊j / 32⌋ of a number's words.
// Columns of signs are nearly orthogonal, as Gaussian ones are (Achlioptas 2003); scaled by 1 / √D they have length 1.

/** The signs of a target's rows of P. */
export interface Signs {
  readonly numbers: number;
  readonly dimension: number;
  /** Calls `use` piece by piece with the words of `rows` numbers from number `from` on. */
  each(use: (words: Uint32Array, from: number, rows: number) => void): void;
}

/** Rows and columns of a target's part of P. */
export interface Extents {
  readonly numbers: number;
  readonly dimension: number;
}

const wordsOf = (dimension: number): number => Math.ceil(dimension / 32);

/** Bytes that the signs take in memory. */
export const bytesOfSigns = ({ numbers, dimension }: Extents): number => 4 * numbers * wordsOf(dimension);

/** Numbers whose signs are made at a time. */
const chunk = 4096;

/** Signs made from the seed where they are read. */
export function seededSigns(seed: bigint, { numbers, dimension }: Extents): Signs {
  const random = createRandom(seed);
  const perRow = wordsOf(dimension);
  return {
    numbers,
    dimension,
    each(use) {
      for (let from = 0; from < numbers; from += chunk) {
        const rows = Math.min(chunk, numbers - from);
        use(random.bits(rows * perRow, from * perRow), from, rows);
      }
    },
  };
}

/** The same from words in memory. */
export const heldSigns = (words: Uint32Array, { numbers, dimension }: Extents): Signs => ({
  numbers,
  dimension,
  each: (use) => use(words, 0, numbers),
});

/** All words of a seed's signs: [numbers · ⌈dimension / 32⌉]. */
export const signWords = (seed: bigint, { numbers, dimension }: Extents): Uint32Array =>
  createRandom(seed).bits(numbers * wordsOf(dimension));

/** The first and the last words of a seed's signs, four of each where there are so many. */
export function endWords(seed: bigint, { numbers, dimension }: Extents): Uint32Array {
  const random = createRandom(seed);
  const all = numbers * wordsOf(dimension);
  const count = Math.min(4, all);
  return Uint32Array.of(...random.bits(count), ...random.bits(count, all - count));
}

// Eight signs at a time: a table has a place for each of the 256 values of a byte of P's rows.

/** P d, unscaled: [numbers] (Aghajanyan et al. 2020, eq. 1). */
export function project(signs: Signs, d: Float32Array): Float64Array {
  const perRow = wordsOf(d.length);
  const sums = byteSums(d, 4 * perRow);
  const out = new Float64Array(signs.numbers);
  signs.each((words, from, rows) => {
    for (let row = 0, at = 0; row < rows; row++) {
      let sum = 0;
      for (let table = 0; table < 1024 * perRow; table += 1024) {
        const word = words[at++]!;
        sum += sums[table + (word & 255)]! + sums[table + 256 + ((word >>> 8) & 255)]!;
        sum += sums[table + 512 + ((word >>> 16) & 255)]! + sums[table + 768 + (word >>> 24)]!;
      }
      out[from + row] = sum;
    }
  });
  return out;
}

/** ΔW = s P d, rounded once: [numbers]. */
export function change(signs: Signs, d: Float32Array, s: number): Float32Array {
  const out = new Float32Array(signs.numbers);
  const unscaled = project(signs, d);
  for (let i = 0; i < out.length; i++) out[i] = s * unscaled[i]!;
  return out;
}

/** Σ ±d over the eight places of a byte, for each of its values: [bytes, 256]. Places beyond d count nothing. */
function byteSums(d: Float32Array, bytes: number): Float64Array {
  const sums = new Float64Array(256 * bytes);
  for (let byte = 0; byte < bytes; byte++)
    for (let value = 0; value < 256; value++) {
      let sum = 0;
      for (let bit = 0; bit < 8; bit++) sum += signOf(value, bit) * (d[8 * byte + bit] ?? 0);
      sums[256 * byte + value] = sum;
    }
  return sums;
}

const signOf = (value: number, bit: number): number => ((value >>> bit) & 1 ? 1 : -1);

/** Pᵀ g, unscaled: [dimension]. */
export function pullBack(signs: Signs, g: Float32Array): Float64Array {
  const perRow = wordsOf(signs.dimension);
  // Of each byte of a row, the sum of the g whose signs it holds, by its value.
  const sums = new Float64Array(1024 * perRow);
  signs.each((words, from, rows) => {
    for (let row = 0, at = 0; row < rows; row++) {
      const value = g[from + row]!;
      for (let table = 0; table < 1024 * perRow; table += 1024) {
        const word = words[at++]!;
        const a = table + (word & 255);
        const b = table + 256 + ((word >>> 8) & 255);
        const c = table + 512 + ((word >>> 16) & 255);
        const d = table + 768 + (word >>> 24);
        sums[a] = sums[a]! + value;
        sums[b] = sums[b]! + value;
        sums[c] = sums[c]! + value;
        sums[d] = sums[d]! + value;
      }
    }
  });
  return Float64Array.from({ length: signs.dimension }, (_, j) => {
    let sum = 0;
    for (let value = 0; value < 256; value++) sum += signOf(value, j % 8) * sums[256 * (j >>> 3) + value]!;
    return sum;
  });
}
