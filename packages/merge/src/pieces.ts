import { elementCount } from '@peftjs/core';
import type { Pieces } from './define.js';

/**
 * Elements that a method sees at a time where it lets cut anywhere: what it makes on its way, once for each
 * model, stays in the processor's cache. Fixed, because sums depend on it in their last bit.
 */
export const tileElements = 2 ** 13;

/** Elements of one row of the first axis; a tensor of one axis or none is one row. */
export const rowSize = (shape: readonly number[]): number =>
  shape.length < 2 ? elementCount(shape) : elementCount(shape.slice(1));

/** Elements of a chunk: at most `most`, but whole rows, or the whole tensor, where the method needs that. */
export function cutSize(pieces: Pieces, shape: readonly number[], most: number): number {
  if (pieces === 'elements') return Math.max(1, most);
  if (pieces === 'tensor') return Math.max(1, elementCount(shape));
  const row = Math.max(1, rowSize(shape));
  return row * Math.max(1, Math.floor(most / row));
}
