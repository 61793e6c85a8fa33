import { elementCount } from '@peftjs/core';
import type { WholeTensor } from '../define.js';

/** The tensor with the entries of some axes taken in another order: out[.., i, ..] = in[.., order[i], ..]. */
export function permuteTensor(tensor: WholeTensor, axes: ReadonlyMap<number, Uint32Array>): WholeTensor {
  let { data } = tensor;
  const { shape } = tensor;
  for (const [axis, order] of axes) {
    const inner = elementCount(shape.slice(axis + 1));
    const size = shape[axis]!;
    const out = new Float32Array(data.length);
    for (let block = 0; block < data.length; block += size * inner)
      for (let i = 0; i < size; i++) {
        const from = block + order[i]! * inner;
        out.set(data.subarray(from, from + inner), block + i * inner);
      }
    data = out;
  }
  return { shape, data };
}

/** Adds ⟨a[.., i, ..], b[.., j, ..]⟩ to gains[i, j] for all entries i, j of an axis. */
export function similarity(a: WholeTensor, b: WholeTensor, axis: number, gains: Float64Array): void {
  const inner = elementCount(a.shape.slice(axis + 1));
  const size = a.shape[axis]!;
  for (let block = 0; block < a.data.length; block += size * inner)
    for (let i = 0; i < size; i++)
      for (let j = 0; j < size; j++) {
        let sum = 0;
        for (let k = 0; k < inner; k++) sum += a.data[block + i * inner + k]! * b.data[block + j * inner + k]!;
        gains[i * size + j] = gains[i * size + j]! + sum;
      }
}
