import type { Selection } from './define.js';
import { bitsOf, findBits, keepFrom, magnitude, words } from './kernels/index.js';

/**
 * The k largest magnitudes of float32 numbers, exactly, by counting: the 31 magnitude bits of a float order like the
 * float, so two histograms (high 16 bits, low 15) find the k-th, and two more over the indices of the numbers equal to
 * it find where the last one taken lies; the second of the latter sees one block of indices alone. Differences of 16-bit
 * floats are equal by the thousand and have low bits of 0: the first of the latter is then done with the low bits.
 * Histograms of pieces add up, so passes may run in pieces, in any order.
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
const blocksIn = (count: number): number => Math.ceil(count / blockSize);
/** Bins of the low bits. Behind them the second pass counts where numbers lie whose low bits are all 0. */
const lowBins = 2 ** 15;
const lowMask = lowBins - 1;
const highMask = magnitude - lowMask;

/** Nothing is in, or everything is. */
const none: Selection = { bits: 2 ** 31, last: -1 };
const all: Selection = { bits: 0, last: Number.POSITIVE_INFINITY };

/** @param k how many are wanted of `count`; cut to what is there. */
export function startSelection(k: number, count: number): SelectState {
  if (!(k > 0)) return { pass: 'done', selection: none };
  if (k >= count) return { pass: 'done', selection: all };
  return { pass: 'high', rest: k, bins: 2 ** 16 };
}

/** The magnitude bits of each number. */
export const magnitudeBits = (values: Float32Array): Uint32Array => bitsOf(values).map((bits) => bits & magnitude);

/** Indices of the values whose bits under a mask are these. */
function indicesOf(values: Float32Array, mask: number, bits: number): Uint32Array {
  const indices = words(values.length);
  return indices.subarray(0, findBits(indices, values, mask, bits));
}

/** Which elements of the scope a pass must see: the last one looks at one block alone. */
export const rangeOf = (state: SelectState): readonly [from: number, to: number] =>
  state.pass === 'index'
    ? [state.block * blockSize, (state.block + 1) * blockSize]
    : [0, state.pass === 'done' ? 0 : Number.POSITIVE_INFINITY];

/**
 * Counts a piece into the histogram of the pass.
 * @param values their signs do not count
 * @param at index of the piece's first number in the scope
 */
export function countInto(state: SelectState, values: Float32Array, at: number, histogram: Uint32Array): void {
  const bits = bitsOf(values);
  switch (state.pass) {
    case 'done':
      return;
    case 'high':
      for (let i = 0; i < bits.length; i++) histogram[(bits[i]! << 1) >>> 16]!++;
      return;
    case 'low':
      for (const i of indicesOf(values, highMask, state.high << 15)) {
        const bin = bits[i]! & lowMask;
        histogram[bin]!++;
        if (bin === 0) histogram[lowBins + Math.floor((at + i) / blockSize)]!++;
      }
      return;
    case 'block':
      for (const i of indicesOf(values, magnitude, state.bits)) histogram[Math.floor((at + i) / blockSize)]!++;
      return;
    case 'index': {
      const first = state.block * blockSize - at;
      for (const i of indicesOf(values, magnitude, state.bits))
        if (i >= first && i < first + blockSize) histogram[i - first]!++;
      return;
    }
  }
}

/** Counts of one tensor, or sums over several. */
export type Counts = Uint32Array | Float64Array;

/** The bin in which the `rest`-th lies, from the last bin down or the first up, and how many of it are still wanted. */
function locate(histogram: Counts, rest: number, down: boolean): { bin: number; rest: number } {
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
export function advance(state: SelectState, histogram: Counts, count: number): SelectState {
  switch (state.pass) {
    case 'done':
      return state;
    case 'high': {
      const { bin, rest } = locate(histogram, state.rest, true);
      return { pass: 'low', rest, bins: lowBins + blocksIn(count), high: bin };
    }
    case 'low': {
      const { bin, rest } = locate(histogram.subarray(0, lowBins), state.rest, true);
      const bits = (state.high << 15) | bin;
      if (rest === histogram[bin]!) return { pass: 'done', selection: { bits, last: Number.POSITIVE_INFINITY } };
      const next = { pass: 'block', rest, bins: blocksIn(count), bits } as const;
      return bin === 0 ? advance(next, histogram.subarray(lowBins), count) : next;
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

/** How many of `length` values from `offset` on are before the last one taken of the equal ones. */
const equalIn = ({ last }: Selection, length: number, offset: number): number =>
  Math.max(0, Math.min(length, last - offset + 1));

/**
 * Sets to 0 what is not among the selected, in place.
 * @param offset row-major index of the first value in the tensor
 */
export function keepSelected(values: Float32Array, selection: Selection, offset: number): void {
  keepFrom(values, selection.bits, equalIn(selection, values.length, offset));
}

/** Sets to 0 what is among the selected, in place: the other way round. */
export function dropSelected(values: Float32Array, selection: Selection, offset: number): void {
  const own = bitsOf(values);
  const { bits } = selection;
  const equal = equalIn(selection, values.length, offset);
  for (let j = 0; j < equal; j++) if ((own[j]! & magnitude) >= bits) own[j] = 0;
  for (let j = equal; j < own.length; j++) if ((own[j]! & magnitude) > bits) own[j] = 0;
}

/** Whether the element of these magnitude bits at a row-major index of the tensor is among the largest. */
export const isIn = ({ bits, last }: Selection, magnitude: number, index: number): boolean =>
  magnitude > bits || (magnitude === bits && index <= last);
