import type { Selection } from './define.js';

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

/** Nothing is in, or everything is. */
const none: Selection = { bits: 2 ** 31, last: -1 };
const all: Selection = { bits: 0, last: Number.POSITIVE_INFINITY };

/** @param k how many are wanted of `count`; cut to what is there. */
export function startSelection(k: number, count: number): SelectState {
  if (!(k > 0)) return { pass: 'done', selection: none };
  if (k >= count) return { pass: 'done', selection: all };
  return { pass: 'high', rest: k, bins: 2 ** 16 };
}

/** The bits of each number rounded to float32: the same memory where that is what the numbers are. */
export function floatBits(values: Float32Array | Float64Array): Uint32Array {
  if (values instanceof Float32Array) return new Uint32Array(values.buffer, values.byteOffset, values.length);
  const rounded = new Float32Array(values.length);
  for (let i = 0; i < rounded.length; i++) rounded[i] = values[i]!;
  return new Uint32Array(rounded.buffer);
}

/** All bits but the sign. */
const magnitude = 0x7fffffff;

/** The magnitude bits of each number, rounded to float32. */
export const magnitudeBits = (values: Float32Array | Float64Array): Uint32Array =>
  floatBits(values).map((bits) => bits & magnitude);

/** Which elements of the scope a pass must see: the last one looks at one block alone. */
export const rangeOf = (state: SelectState): readonly [from: number, to: number] =>
  state.pass === 'index'
    ? [state.block * blockSize, (state.block + 1) * blockSize]
    : [0, state.pass === 'done' ? 0 : Number.POSITIVE_INFINITY];

/**
 * Counts a piece into the histogram of the pass.
 * @param bits of float32 numbers; their signs do not count
 * @param at index of the piece's first number in the scope
 */
export function countInto(state: SelectState, bits: Uint32Array, at: number, histogram: Float64Array): void {
  switch (state.pass) {
    case 'done':
      return;
    case 'high':
      for (let i = 0; i < bits.length; i++) histogram[(bits[i]! & magnitude) >>> 15]!++;
      return;
    case 'low': {
      const { high } = state;
      for (let i = 0; i < bits.length; i++) {
        if ((bits[i]! & magnitude) >>> 15 !== high) continue;
        const bin = bits[i]! & 0x7fff;
        histogram[bin]!++;
        if (bin === 0) histogram[lowBins + Math.floor((at + i) / blockSize)]!++;
      }
      return;
    }
    case 'block': {
      const wanted = state.bits;
      for (let i = 0; i < bits.length; ) {
        // Elements up to the end of a block count for one bin.
        const block = Math.floor((at + i) / blockSize);
        const end = Math.min(bits.length, (block + 1) * blockSize - at);
        let count = 0;
        for (; i < end; i++) if ((bits[i]! & magnitude) === wanted) count++;
        histogram[block]! += count;
      }
      return;
    }
    case 'index': {
      const wanted = state.bits;
      const first = state.block * blockSize - at;
      const end = Math.min(bits.length, first + blockSize);
      for (let i = Math.max(0, first); i < end; i++) if ((bits[i]! & magnitude) === wanted) histogram[i - first]!++;
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

/** The smallest magnitude of a selection as a number. Of nothing, a bound that no float reaches at an index. */
function borderOf({ bits }: Selection): number {
  return bits > 0x7f800000 ? Number.POSITIVE_INFINITY : new Float32Array(Uint32Array.of(bits).buffer)[0]!;
}

/**
 * Sets to 0 what is not among the selected, in place.
 * @param offset row-major index of the first value in the tensor
 */
export function keepSelected(values: Float64Array, selection: Selection, offset: number): void {
  const border = borderOf(selection);
  // Equal ones count up to `last`.
  const equal = Math.max(0, Math.min(values.length, selection.last - offset + 1));
  for (let j = 0; j < equal; j++) if (Math.fround(Math.abs(values[j]!)) < border) values[j] = 0;
  for (let j = equal; j < values.length; j++) if (Math.fround(Math.abs(values[j]!)) <= border) values[j] = 0;
}

/** Sets to 0 what is among the selected, in place: the other way round. */
export function dropSelected(values: Float64Array, selection: Selection, offset: number): void {
  const border = borderOf(selection);
  const equal = Math.max(0, Math.min(values.length, selection.last - offset + 1));
  for (let j = 0; j < equal; j++) if (Math.fround(Math.abs(values[j]!)) >= border) values[j] = 0;
  for (let j = equal; j < values.length; j++) if (Math.fround(Math.abs(values[j]!)) > border) values[j] = 0;
}

/** Whether the element of these magnitude bits at a row-major index of the tensor is among the largest. */
export const isIn = ({ bits, last }: Selection, magnitude: number, index: number): boolean =>
  magnitude > bits || (magnitude === bits && index <= last);
