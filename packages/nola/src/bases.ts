import { f32, type Random, type Tensor } from '@peftjs/core';

/** Matrices of one shape that a factor is a sum of, read in parts. */
export interface Bases {
  readonly count: number;
  /** Elements of one of them. */
  readonly size: number;
  /** Writes elements `from` to `from + out.length` of a basis, row by row, to `out`. */
  fill(basis: number, from: number, out: Float32Array): void;
}

/**
 * The tensor `rng.uniform([count, size], -bound, bound)`, made where it is read: element e of basis i follows from word
 * i · size + e of the stream alone.
 */
export function seededBases(
  rng: Random,
  { count, size, bound }: { count: number; size: number; bound: number },
): Bases {
  const [low, width] = [-bound, bound - -bound];
  return {
    count,
    size,
    fill(basis, from, out) {
      const words = rng.bits(out.length, basis * size + from);
      for (let e = 0; e < out.length; e++) out[e] = low + width * ((words[e]! >>> 8) * 2 ** -24);
    },
  };
}

/** The same from a tensor [count, ...] in memory. */
export function heldBases({ shape, data }: Tensor): Bases {
  const [count] = shape as readonly [number];
  const size = data.length / count;
  const values = data as Float32Array;
  return {
    count,
    size,
    fill(basis, from, out) {
      const at = basis * size + from;
      out.set(values.subarray(at, at + out.length));
    },
  };
}

/** All of them at once: [count, size]. */
export function materialized(bases: Bases): Tensor {
  const { count, size } = bases;
  const data = new Float32Array(count * size);
  for (let i = 0; i < count; i++) bases.fill(i, 0, data.subarray(i * size, (i + 1) * size));
  return f32([count, size], data);
}
