import { elementCount } from '@peftjs/core';

/**
 * Calls `use` with the indices of every vector that runs along an axis, within a piece of whole rows of the first axis
 * (of the whole tensor when the axis is the first). A tensor of fewer axes is one vector.
 * @param axis counted from 0, or -1 for the last
 * @param length elements of the piece
 */
export function eachFibre(
  shape: readonly number[],
  axis: number,
  length: number,
  use: (indices: Uint32Array) => void,
): void {
  if (length === 0) return;
  const along = axis < 0 ? shape.length + axis : axis;
  const size = shape.length < 2 || along >= shape.length ? length : shape[along]!;
  const stride = shape.length < 2 ? 1 : elementCount(shape.slice(along + 1));
  const indices = new Uint32Array(size);
  for (let block = 0; block < length; block += size * stride)
    for (let inner = 0; inner < stride; inner++) {
      for (let n = 0; n < size; n++) indices[n] = block + inner + n * stride;
      use(indices);
    }
}
