import { PeftError } from '@peftjs/core';
import type { Tensor } from '@peftjs/core/tensor';
import type { CacheShape } from './architectures/architecture.js';
import { cacheNames } from './architectures/cache.js';

/**
 * Keys and values of sequences that are being decoded, one row each. Rows are independent: they have lengths of their
 * own and come and go one by one. Rows 0 to `rows - 1` are in use.
 */
export interface KvCache {
  readonly rows: number;
  /** Tokens a row has room for. */
  readonly capacity: number;
  /** Tokens cached in a row. */
  length(row: number): number;
  /** A new empty row: its number. */
  admit(): number;
  /** Ends a row. The last row takes its place: the number it had, or undefined when the row was the last. */
  release(row: number): number | undefined;
  /** Inputs `past_key_values.*` and `past_mask` for rows `from` to `to`: views, valid until the next change. */
  feeds(from?: number, to?: number): Record<string, Tensor>;
  /**
   * Writes outputs `present.*` [to - from, kvHeads, length, headDim] behind what the rows hold. Of each row only tokens
   * `first` (inclusive) to `end` (exclusive) of `kept` stay: the rest is padding.
   */
  append(outputs: Readonly<Record<string, Tensor>>, from: number, kept: readonly (readonly [number, number])[]): void;
}

const parts = ['key', 'value'] as const;

/** @param options.capacity tokens a row has room for at first; doubles as needed */
export function createKvCache(shape: CacheShape, options: { rows?: number; capacity?: number } = {}): KvCache {
  const { layers, kvHeads, headDim } = shape;
  const headsOf = (layer: number) => (typeof kvHeads === 'number' ? kvHeads : kvHeads[layer]!);
  const names = Array.from({ length: layers }, (_, layer) =>
    parts.map((part) => ({ ...cacheNames(layer, part), heads: headsOf(layer) })),
  ).flat();
  let room = Math.max(1, options.rows ?? 1);
  let capacity = Math.max(1, options.capacity ?? 64);
  let lengths: number[] = [];
  const rowSize = (i: number) => names[i]!.heads * capacity * headDim;
  const allocate = () => names.map((_, i) => new Float32Array(room * rowSize(i)));
  let arenas = allocate();
  let mask = new BigInt64Array(room * capacity);

  /** Moves everything into arenas of the new size. */
  function grow(rows: number, tokens: number): void {
    const old = { arenas, mask, capacity };
    [room, capacity] = [rows, tokens];
    arenas = allocate();
    mask = new BigInt64Array(room * capacity);
    for (const [i, arena] of arenas.entries()) {
      for (let head = 0; head < lengths.length * names[i]!.heads; head++) {
        const from = head * old.capacity * headDim;
        arena.set(old.arenas[i]!.subarray(from, from + old.capacity * headDim), head * capacity * headDim);
      }
    }
    for (const [row, length] of lengths.entries()) mask.fill(1n, row * capacity, row * capacity + length);
  }

  function copyRow(from: number, to: number): void {
    for (const [i, arena] of arenas.entries())
      arena.copyWithin(to * rowSize(i), from * rowSize(i), (from + 1) * rowSize(i));
    mask.copyWithin(to * capacity, from * capacity, (from + 1) * capacity);
    lengths[to] = lengths[from]!;
  }

  return {
    get rows() {
      return lengths.length;
    },
    get capacity() {
      return capacity;
    },
    length: (row) => lengths[row] ?? 0,
    admit() {
      if (lengths.length === room) grow(2 * room, capacity);
      return lengths.push(0) - 1;
    },
    release(row) {
      if (row < 0 || row >= lengths.length)
        throw new PeftError('CONFIG_INVALID', `The cache has no row ${row}; it has ${lengths.length} rows.`);
      const last = lengths.length - 1;
      if (row !== last) copyRow(last, row);
      lengths = lengths.slice(0, last);
      mask.fill(0n, last * capacity, (last + 1) * capacity);
      return row === last ? undefined : last;
    },
    feeds(from = 0, to = lengths.length) {
      const count = to - from;
      const feeds: Record<string, Tensor> = {
        past_mask: { dtype: 'i64', shape: [count, capacity], data: mask.subarray(from * capacity, to * capacity) },
      };
      for (const [i, { past, heads }] of names.entries()) {
        const data = arenas[i]!.subarray(from * rowSize(i), to * rowSize(i));
        feeds[past] = { dtype: 'f32', shape: [count, heads, capacity, headDim], data };
      }
      return feeds;
    },
    append(outputs, from, kept) {
      const needed = Math.max(...kept.map(([first, end], r) => lengths[from + r]! + end - first));
      if (needed > capacity) grow(room, Math.max(needed, 2 * capacity));
      for (const [i, { present, heads }] of names.entries()) {
        const fresh = outputs[present]!;
        const tokens = fresh.shape[2]!;
        for (const [r, [first, end]] of kept.entries()) {
          for (let head = 0; head < heads; head++) {
            const source = (r * heads + head) * tokens;
            const target = ((from + r) * heads + head) * capacity + lengths[from + r]!;
            const data = fresh.data.subarray((source + first) * headDim, (source + end) * headDim) as Float32Array;
            arenas[i]!.set(data, target * headDim);
          }
        }
      }
      for (const [r, [first, end]] of kept.entries()) {
        const at = (from + r) * capacity + lengths[from + r]!;
        mask.fill(1n, at, at + end - first);
        lengths[from + r]! += end - first;
      }
    },
  };
}
