import { elementCount } from '@peftjs/core';
import type { Chunk, Merge } from '../define.js';
import { cutSize } from '../pieces.js';
import { type OpenFiles, openOperand, type Read } from './read-operand.js';
import type { Task } from './task.js';

/**
 * Elements of a chunk where the method lets cut anywhere. Fixed: sums depend on it in their last bit. NOTE: 1 MiB a
 * chunk of float32 keeps what a method makes of it in the processor's cache and the number of reads small.
 */
export const chunkElements = 2 ** 17;

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
  each(use: (chunk: Chunk) => void | Promise<void>): Promise<void>;
}

export async function chunksOf(merge: Merge, task: Task, files: OpenFiles): Promise<Chunks> {
  const { tensor, shape, base, models, config } = task;
  const count = elementCount(shape);
  const size = Math.min(count, cutSize(merge.pieces?.(config) ?? 'elements', shape, chunkElements));
  const readers = await Promise.all([...models, ...(base ? [base] : [])].map((o) => openOperand(o, shape, files)));
  const keep = 4 * readers.length * count <= keptBytes;
  const kept = new Map<number, Chunk>();
  const buffers = readers.map(() => new Float32Array(keep ? 0 : size));

  async function load(offset: number): Promise<Chunk> {
    const length = Math.min(size, count - offset);
    const fill = async (read: Read, i: number) => {
      const out = keep ? new Float32Array(length) : buffers[i]!.subarray(0, length);
      await read(offset, offset + length, out);
      return out;
    };
    const arrays: Float32Array[] = [];
    for (const [i, read] of readers.entries()) arrays.push(await fill(read, i));
    const chunk = { tensor, shape, offset, models: arrays.slice(0, models.length) };
    return base ? { ...chunk, base: arrays[models.length]! } : chunk;
  }

  return {
    count,
    async each(use) {
      for (let offset = 0; offset < count; offset += size) {
        const chunk = kept.get(offset) ?? (await load(offset));
        if (keep) kept.set(offset, chunk);
        await use(chunk);
      }
    },
  };
}
