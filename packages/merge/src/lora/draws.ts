import { createRandom } from '@peftjs/core';

/** Which numbers a mask is for. */
export interface Place {
  /** Index of the adapter. */
  readonly input: number;
  /** The parameter. */
  readonly path: string;
  /** A factor, the whole update, or the adapter's block on a shared basis. */
  readonly part: 'a' | 'b' | 'delta' | 'block';
  readonly shape: readonly [number, number];
  /** Share of ones. */
  readonly density: number;
}

/** A random mask, row-major, 1 for what stays. */
export type Keep = (place: Place) => Uint8Array;

/** Independent draws that depend on the seed, the adapter's place in the list, the parameter and the part. */
export const seeded =
  (seed: number | bigint): Keep =>
  ({ input, path, part, shape, density }) =>
    Uint8Array.from(createRandom(seed).fork('keep', input, path, part).uniform(shape).data as Float32Array, (u) =>
      u < density ? 1 : 0,
    );
