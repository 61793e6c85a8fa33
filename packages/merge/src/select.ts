import type { Selection } from './define.js';

/**
 * The k largest magnitudes of float32 numbers, exactly, by counting: the 31 magnitude bits of a float order like the
 * float, so two histograms (high 16 bits, low 15) find the k-th, and two more over the indices of the numbers equal to
 * it find where the last one taken lies. Histograms of pieces add up, so passes may run in pieces, in any order.
 */
export type SelectState =
  | { readonly pass: 'high'; readonly rest: number; readonly bins: number }
  | { readonly pass: 'low'; readonly rest: number; readonly bins: number; readonly high: number }
  | { readonly pass: 'block'; readonly rest: number; readonly bins: number; readonly bits: number }
  | {
      readonly pass: 'index';
      readonly rest: number;
      readonly bins: number;
      readonly bits: number;
      readonly block: number;
    }
  | { readonly pass: 'done'; readonly selection: Selection };

const blockSize = 2 ** 16;

/** Nothing is in, or everything is. */
const none: Selection = { bits: 2 ** 31, last: -1 };
const all: Selection = { bits: 0, last: Number.POSITIVE_INFINITY };

/** @param k how many are wanted of `count`; cut to what is there. */
export function startSelection(k: number, count: number): SelectState {
  if (!(k > 0)) return { pass: 'done', selection: none };
  if (k >= count) return { pass: 'done', selection: all };
  return { pass: 'high', rest: k, bins: 2 ** 16 };
}

/** The magnitude bits of each number, rounded to float32. */
export function magnitudeBits(values: Float32Array | Float64Array): Uint32Array {
  const rounded = new Float32Array(values); // a copy: the bits below are changed
  const bits = new Uint32Array(rounded.buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = bits[i]! & 0x7fffffff;
  return bits;
}

/** Counts a piece into the histogram of the pass. @param at index of the piece's first number in the scope. */
export function countInto(state: SelectState, bits: Uint32Array, at: number, histogram: Float64Array): void {
  const count = (bin: number) => {
    histogram[bin] = histogram[bin]! + 1;
  };
  switch (state.pass) {
    case 'done':
      return;
    case 'high':
      for (let i = 0; i < bits.length; i++) count(bits[i]! >>> 15);
      return;
    case 'low':
      for (let i = 0; i < bits.length; i++) if (bits[i]! >>> 15 === state.high) count(bits[i]! & 0x7fff);
      return;
    case 'block':
      for (let i = 0; i < bits.length; i++) if (bits[i] === state.bits) count(Math.floor((at + i) / blockSize));
      return;
    case 'index': {
      const first = state.block * blockSize - at;
      const end = Math.min(bits.length, first + blockSize);
      for (let i = Math.max(0, first); i < end; i++) if (bits[i] === state.bits) count(i - first);
      return;
    }
  }
}

/** The bin in which the `rest`-th lies, from the last bin down or the first up, and how many of it are still wanted. */
function locate(histogram: Float64Array, rest: number, down: boolean): { bin: number; rest: number } {
  const n = histogram.length;
  let left = rest;
  for (let i = 0; i < n; i++) {
    const bin = down ? n - 1 - i : i;
    if (left <= histogram[bin]!) return { bin, rest: left };
    left -= histogram[bin]!;
  }
  return { bin: down ? 0 : n - 1, rest: 0 };
}

/** The next pass, from the whole histogram of this one. @param count numbers in the scope. */
export function advance(state: SelectState, histogram: Float64Array, count: number): SelectState {
  switch (state.pass) {
    case 'done':
      return state;
    case 'high': {
      const { bin, rest } = locate(histogram, state.rest, true);
      return { pass: 'low', rest, bins: 2 ** 15, high: bin };
    }
    case 'low': {
      const { bin, rest } = locate(histogram, state.rest, true);
      const bits = (state.high << 15) | bin;
      if (rest === histogram[bin]!) return { pass: 'done', selection: { bits, last: Number.POSITIVE_INFINITY } };
      return { pass: 'block', rest, bins: Math.ceil(count / blockSize), bits };
    }
    case 'block': {
      const { bin, rest } = locate(histogram, state.rest, false);
      return { pass: 'index', rest, bins: blockSize, bits: state.bits, block: bin };
    }
    case 'index': {
      const { bin } = locate(histogram, state.rest, false);
      return { pass: 'done', selection: { bits: state.bits, last: state.block * blockSize + bin } };
    }
  }
}

/** The selection of a scope as one of its tensors sees it. @param start index of the tensor's first element in the scope. */
export const within = ({ bits, last }: Selection, start: number): Selection => ({ bits, last: last - start });

/** Whether the element of these magnitude bits at a row-major index of the tensor is among the largest. */
export const isIn = ({ bits, last }: Selection, magnitude: number, index: number): boolean =>
  magnitude > bits || (magnitude === bits && index <= last);
