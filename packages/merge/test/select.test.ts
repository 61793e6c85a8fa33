import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  advance,
  countInto,
  dropSelected,
  isIn,
  keepSelected,
  magnitudeBits,
  rangeOf,
  startSelection,
  within,
} from '../src/select.js';

/** The selection of all numbers, counted in pieces of a size. */
function select(values: Float32Array, k: number, piece: number) {
  let state = startSelection(k, values.length);
  while (state.pass !== 'done') {
    const histogram = new Uint32Array(state.bins);
    const [from, to] = rangeOf(state);
    for (let at = 0; at < values.length; at += piece)
      if (at < to && at + piece > from) countInto(state, values.subarray(at, at + piece), at, histogram);
    state = advance(state, histogram, values.length);
  }
  return state.selection;
}

const chosen = (values: Float32Array, k: number, piece: number): number[] => {
  const selection = select(values, k, piece);
  return [...magnitudeBits(values)].flatMap((bits, i) => (isIn(selection, bits, i) ? [i] : []));
};

/** By sorting: larger magnitudes first, of equal ones the lower index. */
const bySorting = (values: Float32Array, k: number): number[] =>
  [...values.keys()]
    .sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!) || a - b)
    .slice(0, Math.max(0, k))
    .sort((a, b) => a - b);

describe('selection of the largest magnitudes', () => {
  it('finds what sorting finds, however it is cut, with many equal numbers', () => {
    const few = fc.constantFrom(0, -0, 1, -1, 1e-40, 2.5, -2.5, 3e38);
    const numbers = fc.array(fc.oneof(few, fc.float({ noNaN: true })), { maxLength: 200 });
    fc.assert(
      fc.property(numbers, fc.integer({ min: -1, max: 210 }), fc.integer({ min: 1, max: 50 }), (list, k, piece) => {
        const values = Float32Array.from(list);
        expect(chosen(values, k, piece)).toEqual(bySorting(values, k));
      }),
    );
  });

  it('finds the border among more equal numbers than one block of indices has', () => {
    const values = new Float32Array(150_000).fill(-2);
    values[149_999] = 3;
    expect(select(values, 70_001, 40_000)).toEqual({ bits: 0x40000000, last: 69_999 });
    expect(chosen(values, 70_001, 40_000).length).toBe(70_001);
  });

  it('finds the border among equal numbers that do have low bits', () => {
    const values = new Float32Array(150_000).fill(0.1);
    expect(select(values, 70_001, 40_000)).toEqual({ bits: magnitudeBits(Float32Array.of(0.1))[0], last: 70_000 });
  });

  it('keeps or drops in place what it has, in pieces', () => {
    const few = fc.constantFrom(0, -0, 1, -1, 2.5, -2.5);
    const numbers = fc.array(fc.oneof(few, fc.float({ noNaN: true, noDefaultInfinity: true })), { maxLength: 60 });
    fc.assert(
      fc.property(numbers, fc.integer({ min: -1, max: 65 }), fc.integer({ min: 1, max: 20 }), (list, k, piece) => {
        const rounded = Float32Array.from(list);
        const inside = new Set(chosen(rounded, k, piece));
        const selection = select(rounded, k, piece);
        const [kept, dropped] = [Float32Array.from(list), Float32Array.from(list)];
        for (let at = 0; at < list.length; at += piece) {
          keepSelected(kept.subarray(at, at + piece), selection, at);
          dropSelected(dropped.subarray(at, at + piece), selection, at);
        }
        // 0 and -0 are the same number here.
        expect([...kept].map((x) => x + 0)).toEqual(list.map((x, i) => (inside.has(i) ? x : 0) + 0));
        expect([...dropped].map((x) => x + 0)).toEqual(list.map((x, i) => (inside.has(i) ? 0 : x) + 0));
      }),
    );
  });

  it('is told to a tensor of the scope by its own indices', () => {
    expect(within({ bits: 7, last: 10 }, 8)).toEqual({ bits: 7, last: 2 });
    expect(isIn(within({ bits: 7, last: 10 }, 8), 7, 3)).toBe(false);
    expect(isIn(within({ bits: 7, last: 10 }, 20), 7, 0)).toBe(false);
  });
});
