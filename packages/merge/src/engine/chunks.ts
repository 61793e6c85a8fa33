import { elementCount } from '@peftjs/core';
import type { Chunk, Merge } from '../define.js';
import { floats, inTile } from '../kernels/index.js';
import { cutSize, tileElements } from '../pieces.js';
import { type Numbers, type OpenFiles, openOperand } from './read-operand.js';
import type { Task } from './task.js';

/** Elements read at a time where the method lets cut anywhere: few reads, little memory. Whole tiles. */
export const chunkElements = 2 ** 16;

/** A tensor whose inputs take less than this together is read once and kept over all passes. */
export const keptBytes = 2 ** 23;

/** Bytes of float32 that one pass over a task holds. */
export function heldBytes(merge: Merge, { shape, models, base, config }: Task): number {
  const count = elementCount(shape);
  const size = Math.min(count, cutSize(merge.pieces?.(config) ?? 'elements', shape, chunkElements));
  const inputs = models.length + (base ? 1 : 0);
  return 4 * inputs * (4 * inputs * count <= keptBytes ? count : size);
}

/** The chunks of a task, as often as they are asked for. */
export interface Chunks {
  readonly count: number;
  /**
   * @param use is given arrays that hold until it returns
   * @param range elements that must be among the chunks; all when not given
   */
  each(use: (chunk: Chunk) => void, range?: readonly [from: number, to: number]): Promise<void>;
}

export async function chunksOf(merge: Merge, task: Task, files: OpenFiles): Promise<Chunks> {
  const { tensor, shape, base, models, config } = task;
  const count = elementCount(shape);
  const pieces = merge.pieces?.(config) ?? 'elements';
  const size = Math.min(count, cutSize(pieces, shape, chunkElements));
  const tile = pieces === 'elements' ? tileElements : size;
  const readers = await Promise.all([...models, ...(base ? [base] : [])].map((o) => openOperand(o, shape, files)));
  const keep = 4 * readers.length * count <= keptBytes;
  const kept = new Map<number, readonly Numbers[]>();

  async function load(offset: number): Promise<readonly Numbers[]> {
    const loaded: Numbers[] = [];
    for (const read of readers) loaded.push(await read(offset, Math.min(offset + size, count), keep));
    if (keep) kept.set(offset, loaded);
    return loaded;
  }

  /** What a method sees of the elements that were read together. */
  function tileOf(loaded: readonly Numbers[], offset: number, at: number): Chunk {
    const arrays = loaded.map((numbers) => {
      const out = floats(Math.min(tile, size - at, count - offset - at));
      numbers(at, out);
      return out;
    });
    const chunk = { tensor, shape, offset: offset + at, models: arrays.slice(0, models.length) };
    return base ? { ...chunk, base: arrays[models.length]! } : chunk;
  }

  return {
    count,
    async each(use, [from, to] = [0, count]) {
      for (let offset = 0; offset < count; offset += size) {
        if (offset >= to || offset + size <= from) continue;
        const loaded = kept.get(offset) ?? (await load(offset));
        for (let at = 0; at < size && offset + at < count; at += tile) inTile(() => use(tileOf(loaded, offset, at)));
      }
    },
  };
}
