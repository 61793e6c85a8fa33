import { byteLength, elementCount } from '@peftjs/core';
import type { Merge } from '../define.js';
import { chunkElements, heldBytes } from './chunks.js';
import type { Planned } from './plan.js';
import type { Task } from './task.js';

/** Arrays of a chunk that a method makes on its way, beside one for each model. */
const scratchArrays = 6;

/** Float64 for a whole tensor, one for each input that is an update: they are multiplied out once. */
const updateBytes = ({ shape, models }: Planned): number =>
  8 * elementCount(shape) * models.filter(({ terms }) => terms.length > 0).length;

/** What one thread holds while it merges a tensor. */
function taskBytes(merge: Merge, task: Planned): number {
  if (task.kind === 'copy') return 2 ** 23;
  const size = Math.min(elementCount(task.shape), chunkElements);
  const scratch = 8 * (task.models.length + scratchArrays) * size;
  return heldBytes(merge, task as unknown as Task) + updateBytes(task) + scratch;
}

/** An upper estimate of the memory a merge takes beside the program: what threads hold, and results that stay. */
export function estimateBytes(merge: Merge, tasks: readonly Planned[], threads: number, inMemory: boolean): number {
  const results = inMemory ? tasks.reduce((sum, { dtype, shape }) => sum + byteLength(dtype, shape), 0) : 0;
  if (merge.whole) {
    // Everything as float32, the result beside it, and as much again for decompositions.
    const inputs = (task: Planned) => task.models.length + (task.base ? 1 : 0);
    return results + tasks.reduce((sum, task) => sum + 4 * elementCount(task.shape) * (inputs(task) + 3), 0);
  }
  const largest = tasks.map((task) => taskBytes(merge, task)).sort((a, b) => b - a);
  return results + largest.slice(0, threads).reduce((sum, bytes) => sum + bytes, 0);
}
