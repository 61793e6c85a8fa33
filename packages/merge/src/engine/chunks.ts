import { elementCount } from '@peftjs/core';
import type { Chunk, Merge } from '../define.js';
import { cutSize, tileElements } from '../pieces.js';
import { type OpenFiles, openOperand, type Read } from './read-operand.js';
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
  /** @param range elements that must be among the chunks; all when not given */
  each(use: (chunk: Chunk) => void | Promise<void>, range?: readonly [from: number, to: number]): Promise<void>;
}

/** What a method sees of the elements that were read together. */
function* tilesOf(chunk: Chunk, size: number): Generator<Chunk, void> {
  const { base, models, offset } = chunk;
  const { length } = models[0]!;
  if (length <= size) yield chunk;
  else
    for (let at = 0; at < length; at += size) {
      const cut = (values: Float32Array) => values.subarray(at, at + size);
      yield { ...chunk, offset: offset + at, models: models.map(cut), ...(base && { base: cut(base) }) };
    }
}

export async function chunksOf(merge: Merge, task: Task, files: OpenFiles): Promise<Chunks> {
  const { tensor, shape, base, models, config } = task;
  const count = elementCount(shape);
  const pieces = merge.pieces?.(config) ?? 'elements';
  const size = Math.min(count, cutSize(pieces, shape, chunkElements));
  const tile = pieces === 'elements' ? tileElements : size;
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
    async each(use, [from, to] = [0, count]) {
      for (let offset = 0; offset < count; offset += size) {
        if (offset >= to || offset + size <= from) continue;
        const chunk = kept.get(offset) ?? (await load(offset));
        if (keep) kept.set(offset, chunk);
        for (const part of tilesOf(chunk, tile)) await use(part);
      }
    },
  };
}
