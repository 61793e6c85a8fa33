import { elementCount } from '@peftjs/core';
import type { Chunk, Merge } from '../define.js';
import { floats, inTile } from '../kernels/index.js';
import { cutSize, tileElements } from '../pieces.js';
import { heldSize, type Numbers, type OpenFiles, openOperand } from './read-operand.js';
import type { Operand, Task } from './task.js';

/** Elements read at a time where the method lets cut anywhere: few reads, little memory. Whole tiles. */
export const chunkElements = 2 ** 16;

/** A tensor whose inputs take no more than this together is read once and kept over all passes. */
const keptBytes = 2 ** 22;

const operandsOf = ({ models, base }: Pick<Task, 'models' | 'base'>): readonly Operand[] =>
  base ? [...models, base] : models;

/** Bytes that so many numbers of all inputs take as they are held. */
const bytesOf = (task: Pick<Task, 'models' | 'base'>, count: number): number =>
  count * operandsOf(task).reduce((sum, operand) => sum + heldSize(operand), 0);

/** Bytes of its inputs that a pass over a task holds. */
export function heldBytes(merge: Merge, task: Pick<Task, 'models' | 'base' | 'shape' | 'config'>): number {
  const count = elementCount(task.shape);
  const size = Math.min(count, cutSize(merge.pieces?.(task.config) ?? 'elements', task.shape, chunkElements));
  return bytesOf(task, bytesOf(task, count) <= keptBytes ? count : size);
}

export interface Pass {
  /** Elements that must be among the chunks; all when not given. */
  readonly range?: readonly [from: number, to: number];
  /** Whether another pass follows, so that a small tensor is kept. */
  readonly more?: boolean;
}

/** The chunks of a task, as often as they are asked for. */
export interface Chunks {
  readonly count: number;
  /** @param use is given arrays that hold until it returns */
  each(use: (chunk: Chunk) => void, pass?: Pass): Promise<void>;
}

export function chunksOf(merge: Merge, task: Task, files: OpenFiles): Chunks {
  const { tensor, shape, base, models, config } = task;
  const count = elementCount(shape);
  const pieces = merge.pieces?.(config) ?? 'elements';
  const size = Math.min(count, cutSize(pieces, shape, chunkElements));
  const tile = pieces === 'elements' ? tileElements : size;
  const readers = operandsOf(task).map((operand) => openOperand(operand, shape, files));
  const isSmall = bytesOf(task, count) <= keptBytes;
  const kept = new Map<number, readonly Numbers[]>();

  async function load(offset: number, keep: boolean): Promise<readonly Numbers[]> {
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
    async each(use, { range: [from, to] = [0, count], more = false } = {}) {
      for (let offset = 0; offset < count; offset += size) {
        if (offset >= to || offset + size <= from) continue;
        const loaded = kept.get(offset) ?? (await load(offset, more && isSmall));
        for (let at = 0; at < size && offset + at < count; at += tile) inTile(() => use(tileOf(loaded, offset, at)));
      }
    },
  };
}
