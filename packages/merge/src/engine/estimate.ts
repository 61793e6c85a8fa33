import { byteLength, elementCount } from '@peftjs/core';
import type { Merge } from '../define.js';
import { scratchBytes } from '../kernels/index.js';
import { cutSize, tileElements } from '../pieces.js';
import { heldBytes } from './chunks.js';
import type { Planned } from './plan.js';

/** Arrays of a tile that a method makes on its way, beside two for each model. */
const scratchArrays = 6;

/** Each input that is an update is multiplied out once, to a whole tensor: float32, float64 where it has several terms. */
const updateBytes = ({ shape, models }: Planned): number =>
  models.reduce((sum, { terms }) => sum + [0, 4, 8][Math.min(terms.length, 2)]! * elementCount(shape), 0);

/** What one thread holds while it merges a tensor. */
function taskBytes(merge: Merge, task: Planned): number {
  if (task.kind === 'copy') return 2 ** 23;
  const size = Math.min(
    elementCount(task.shape),
    cutSize(merge.pieces?.(task.config) ?? 'elements', task.shape, tileElements),
  );
  const scratch = scratchBytes + 4 * (2 * task.models.length + scratchArrays) * size;
  return heldBytes(merge, task) + updateBytes(task) + scratch;
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
