import { createRandom } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { entropyBits, readRice, riceBits, riceParameter } from '../src/index.js';
import { decodeStream, encodeStreams } from '../src/streams.js';
import { fromSigns, type Ternary } from '../src/words.js';

const rng = createRandom(3);

function random(name: string, n: number, density: number): Ternary {
  const draws = rng.fork(name).uniform([n, 2], 0, 1).data as Float32Array;
  return fromSigns(
    Array.from({ length: n }, (_, i) => (draws[2 * i]! >= density ? 0 : draws[2 * i + 1]! < 0.5 ? -1 : 1)),
  );
}

const decode = (tensors: readonly Ternary[]) => {
  const sizes = tensors.map(({ n }) => n);
  let at = 0;
  return encodeStreams(tensors).flatMap((stream) => {
    at += stream.tensors;
    return decodeStream(stream, sizes.slice(at - stream.tensors, at), 'A stream');
  });
};

describe('streams', () => {
  it.each([0.001, 0.01, 0.05, 0.2, 0.5, 0.9, 1])('give back what was written at density %d', (density) => {
    for (const [i, n] of [1, 2, 31, 32, 33, 64, 1000, 4097].entries()) {
      const t = random(`${density} ${i}`, n, density);
      expect(decode([t])).toEqual([t]);
    }
  });

  it('run through neighbours, also empty ones, and split where densities differ', () => {
    const tensors = [0.05, 0.05, 0, 0.05, 0.7, 0.7, 0, 0].map((density, i) => random(`run ${i}`, 3000 + i, density));
    tensors.splice(3, 0, fromSigns([]));
    const streams = encodeStreams(tensors);
    expect(streams.length).toBeGreaterThan(1);
    expect(streams.length).toBeLessThan(tensors.length);
    expect(decode(tensors)).toEqual(tensors);
    expect(decode([fromSigns([0, 0, 0])])).toEqual([fromSigns([0, 0, 0])]);
  });

  it.each([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5])('take the bits of the formula at density %d', (density) => {
    const n = 400_000;
    const t = random(`bits ${density}`, n, density);
    const [stream] = encodeStreams([t]);
    const bits = (stream!.bytes.length * 8) / n;
    const own = stream!.nnz / n; // the density that was drawn
    expect(stream!.b).toBe(riceParameter(own));
    expect(Math.abs(bits / riceBits(own) - 1)).toBeLessThan(0.01);
    expect(bits / entropyBits(own)).toBeLessThan(1.02);
  });

  it('carry gaps beyond 2^16 and 2^31', () => {
    const far = 2 ** 17 + 5;
    const t = fromSigns(Float32Array.from({ length: far + 1 }, (_, i) => (i === far ? -1 : 0)));
    expect(decode([t])).toEqual([t]);
    // One survivor at 2^32 + 9 of a virtual stream: b = 31, two ones, a zero, low bits, the sign.
    const index = 2 ** 32 + 9;
    const bits = [1, 1, 0, ...Array.from({ length: 31 }, (_, i) => (9 >> i) & 1), 1];
    const bytes = new Uint8Array(Math.ceil(bits.length / 8));
    for (const [i, bit] of bits.entries()) bytes[i >> 3]! |= bit << (i & 7);
    const found: number[] = [];
    readRice(bytes, { numel: index + 1, nnz: 1, b: 31 }, (i) => found.push(i));
    expect(found).toEqual([index]);
    expect(() => readRice(bytes, { numel: index, nnz: 1, b: 31 }, () => {})).toThrow(/index/);
  });
});
