import { readFileSync } from 'node:fs';
import { createRandom } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { compiled } from '../simd/build.mjs';
import * as kernels from '../src/kernels/index.js';
import * as plain from '../src/kernels/plain.js';
import { scratchMemory } from '../src/kernels/scratch.js';
import { vectorKernels } from '../src/kernels/vectors.js';

const length = 512;
/** Numbers of all sizes, some equal, with everything that has rules of its own. */
function numbers(seed: number): Float32Array {
  const rng = createRandom(seed);
  const x = rng.normal([length]).data as Float32Array;
  const sizes = rng.fork('sizes').uniform([length], -30, 10).data as Float32Array;
  const special = [0, -0, 1, -1, 1e-45, -1e-40, 3.4e38, -3.4e38, 0.5, -0.5];
  return x.map((value, i) => (i % 3 === 0 ? special[i % special.length]! : value * 2 ** sizes[i]!));
}

/** Arrays a kernel works on, in its kind of memory. */
interface Given {
  readonly out: Float32Array;
  readonly x: Float32Array;
  readonly y: Float32Array;
  readonly z: Float32Array;
  readonly halves: Uint16Array;
  readonly indices: Uint32Array;
}

function given(
  floats: (n: number) => Float32Array,
  halves: (n: number) => Uint16Array,
  words: (n: number) => Uint32Array,
) {
  const filled = (seed: number) => {
    const array = floats(length);
    array.set(numbers(seed));
    return array;
  };
  const bits = halves(length);
  bits.set(createRandom(9).bits(length));
  const made = { out: filled(0), x: filled(1), y: filled(2), z: filled(3), halves: bits, indices: words(length) };
  made.indices.fill(0);
  return made;
}

const special = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 65504, 3.3961e38);
const draws = { bytes: createRandom(4), rest: createRandom(5), sure: 76, border: 0.8 };

/** Every kernel that has a vector form. */
const uses: Record<string, (k: typeof plain, arrays: Given) => unknown> = {
  widenBf16: (k, { out, halves }) => k.widenBf16(out, halves),
  narrowBf16(k, { x, halves }) {
    x.set(special);
    k.narrowBf16(halves, x);
  },
  reaches: (k, { x }) => [0, 1, 0x40000000, 0x7f7f8000, 0x7f800000].map((limit) => k.reaches(x, limit)),
  subtract: (k, { out, x, y }) => k.subtract(out, x, y),
  scale: (k, { x }) => k.scale(x, 0.3),
  addScaled: (k, { out, x }) => k.addScaled(out, x, -0.3),
  weightedSum: (k, { out, x, y, z }) => k.weightedSum(out, [x, y, z], [0.1, -0.7, 1e-3]),
  keepFrom(k, { x, y, z }) {
    k.keepFrom(x, 0x3f000000, 100);
    k.keepFrom(y, 2 ** 31, 0);
    k.keepFrom(z, 0, length);
  },
  findBits: (k, { x, indices }) => k.findBits(indices, x, 0x7fff8000, 0x3f800000),
  toSigns(k, { x, y }) {
    k.toSigns(x, 0);
    k.toSigns(y, -1);
  },
  addAgreeing(k, { out, x, y, z }) {
    k.toSigns(z, 0);
    for (const turned of [1, -1]) k.addAgreeing(out, x, y, z, { w: 0.3, share: 0.7, turned });
  },
  divide: (k, { x, y }) => k.divide(x, y, 1e-8),
  sum: (k, { x }) => k.sum(x),
  norm1: (k, { x }) => k.norm1(x),
  dot: (k, { x, y }) => k.dot(x, y),
  dropAtRandom(k, { x, y }) {
    k.dropAtRandom(x, { ...draws, offset: 0 });
    k.dropAtRandom(y, { ...draws, offset: 64 * (2 ** 30 + 1) });
  },
};

/** What a kernel gives back and leaves in its arrays, bit by bit. */
const trace = (use: (typeof uses)[string], k: typeof plain, arrays: Given) => ({
  result: use(k, arrays),
  ...Object.fromEntries(
    Object.entries(arrays).map(([name, { buffer, byteOffset, byteLength }]) => [
      name,
      Buffer.from(buffer, byteOffset, byteLength).toString('hex'),
    ]),
  ),
});

describe('kernels', () => {
  it.each(Object.entries(uses))('%s gives the same bytes on vectors', (_, use) => {
    const { floats, halves, words, inTile } = kernels;
    const one = given(
      (n) => new Float32Array(n),
      (n) => new Uint16Array(n),
      (n) => new Uint32Array(n),
    );
    const expected = trace(use, plain, one);
    inTile(() => {
      const arrays = given(floats, halves, words);
      expect(arrays.x.buffer).toBe(scratchMemory()!.buffer);
      expect(trace(use, kernels as typeof plain, arrays)).toEqual(expected);
    });
  });

  it('are all compared', () => {
    const { memory: _, ...exported } = vectorKernels(scratchMemory()!) as object as Record<string, unknown>;
    expect(Object.keys(exported).sort()).toEqual(Object.keys(uses).sort());
  });

  it('are compiled from their source', async () => {
    expect(readFileSync(new URL('../src/kernels/binary.ts', import.meta.url), 'utf8')).toBe(await compiled());
  });

  it('have ordinary memory outside a tile, and when theirs is full', () => {
    const { floats, inTile } = kernels;
    expect(floats(64).buffer).not.toBe(scratchMemory()!.buffer);
    inTile(() => {
      const all = Array.from({ length: 100 }, () => floats(2 ** 13));
      expect(all[0]!.buffer).toBe(scratchMemory()!.buffer);
      expect(all.at(-1)!.buffer).not.toBe(scratchMemory()!.buffer);
      expect(new Set(all.map(({ buffer, byteOffset }) => (buffer === all[0]!.buffer ? byteOffset : buffer))).size).toBe(
        100,
      );
    });
  });
});
