import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from '../src/tensor/index.js';

const all16 = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** The nearest number with `fraction` bits after the leading one and exponents from `low` up, ties to even. */
function nearest(x: number, fraction: number, low: number, overflow: number): number {
  const magnitude = Math.abs(x);
  if (!Number.isFinite(x) || x === 0) return x;
  if (magnitude >= overflow) return Math.sign(x) * Number.POSITIVE_INFINITY;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), low);
  const quantum = 2 ** (exponent - fraction);
  const steps = magnitude / quantum; // exact: a power of two
  const down = Math.floor(steps);
  const rest = steps - down;
  const even = down % 2 === 0;
  return Math.sign(x) * (rest > 0.5 || (rest === 0.5 && !even) ? down + 1 : down) * quantum;
}

const formats = [
  // 65520 lies halfway between the largest binary16 number and 2^16; bfloat16 likewise below 2^128.
  { name: 'f16', widen: f16ToF32, narrow: f32ToF16, fraction: 10, low: -14, overflow: 65520, infinity: 0x7c00 },
  {
    name: 'bf16',
    widen: bf16ToF32,
    narrow: f32ToBf16,
    fraction: 7,
    low: -126,
    overflow: 2 ** 128 - 2 ** 119,
    infinity: 0x7f80,
  },
] as const;

describe.each(formats)('$name', ({ widen, narrow, fraction, low, overflow, infinity }) => {
  it('widens every pattern exactly and narrows it back to the same bits', () => {
    const wide = widen(all16);
    expect(narrow(wide)).toEqual(all16); // includes all NaN payloads and both zeros
    const bias = infinity === 0x7c00 ? 15 : 127;
    for (let h = 0; h < infinity; h += 1) {
      const exponent = h >> fraction;
      const significand = h & ((1 << fraction) - 1);
      const value = exponent
        ? (1 + significand / 2 ** fraction) * 2 ** (exponent - bias)
        : significand * 2 ** (low - fraction);
      if (wide[h] !== value || wide[h + 0x8000] !== -value) expect.fail(`pattern ${h}: ${wide[h]}, not ${value}`);
    }
  });

  it('rounds to nearest, ties to even, at every midpoint and beside it', () => {
    const grid = widen(all16.subarray(0, infinity));
    const probes: number[] = [];
    for (let i = 0; i + 1 < grid.length; i++) {
      const middle = Math.fround((grid[i]! + grid[i + 1]!) / 2);
      probes.push(middle, -middle, Math.fround(middle * (1 + 2 ** -23)), Math.fround(middle * (1 - 2 ** -23)));
    }
    probes.push(overflow, Math.fround(overflow * (1 - 2 ** -23)), 3.4028234663852886e38, 2 ** -149, -(2 ** -149));
    const rounded = widen(narrow(Float32Array.from(probes)));
    probes.forEach((x, i) => {
      const expected = nearest(x, fraction, low, overflow);
      if (!Object.is(rounded[i], expected) && rounded[i] !== expected)
        expect.fail(`${x}: ${rounded[i]}, not ${expected}`);
    });
  });

  it('rounds any float32 to the nearest', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (x) => {
        expect(widen(narrow(Float32Array.of(x)))[0]).toBe(nearest(x, fraction, low, overflow));
      }),
      { numRuns: 2000 },
    );
  });

  it('keeps a NaN a NaN, with its sign, when its payload does not fit', () => {
    const bits = Uint32Array.of(0x7f800001, 0xff800001, 0x7fc00000, 0xffffffff);
    const narrowed = narrow(new Float32Array(bits.buffer));
    expect(Array.from(widen(narrowed), Number.isNaN)).toEqual([true, true, true, true]);
    expect(Array.from(narrowed, (h) => h >> 15)).toEqual([0, 1, 0, 1]);
  });
});
