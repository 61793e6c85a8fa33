import { cast, type DType, elementCount, PeftError, type Tensor } from '@peftjs/core';

/**
 * Numbers of any dtype as float64, row-major: what the reference computes on. Integers are exact up to 2^53, bool is
 * 0 or 1; `dtype` is only what the values are called and whether they round to integers.
 */
export interface NdArray {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export const count = elementCount;

export const nd = (dtype: DType, shape: readonly number[], data?: Float64Array): NdArray => ({
  dtype,
  shape,
  data: data ?? new Float64Array(count(shape)),
});

export const fromTensor = (tensor: Tensor): NdArray =>
  nd(tensor.dtype, tensor.shape, cast(tensor, 'f64').data as Float64Array);

/** A tensor of `dtype` (default: the array's own), rounded to it. */
export function toTensor(array: NdArray, dtype: DType = array.dtype): Tensor {
  return cast({ dtype: 'f64', shape: array.shape, data: array.data.slice() }, dtype);
}

/** Elements between neighbours of each axis. */
export function strides(shape: readonly number[]): number[] {
  const result = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    result[axis] = step;
    step *= shape[axis]!;
  }
  return result;
}

/** The non-negative axis. */
export const axisOf = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

/** The common shape of operands under numpy's rule. @throws PeftError GRAPH_INVALID */
export function broadcastShape(...shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(0, ...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, axis) => {
    let size = 1;
    for (const shape of shapes) {
      const own = shape[axis - rank + shape.length] ?? 1;
      if (own !== 1 && size !== 1 && own !== size) {
        throw new PeftError('GRAPH_INVALID', `Shapes ${shapes.map((s) => `[${s}]`).join(' and ')} do not broadcast.`);
      }
      if (own !== 1) size = own;
    }
    return size;
  });
}

/** For every element of `shape` in order, the flat index into an operand of shape `own` that broadcasts to it. */
export function broadcastIndex(own: readonly number[], shape: readonly number[]): Int32Array {
  const steps = strides(own);
  const lead = shape.length - own.length;
  const step = shape.map((_, axis) => (axis < lead || own[axis - lead] === 1 ? 0 : steps[axis - lead]!));
  return stridedIndex(shape, step, 0);
}

/** Flat positions `offset + sum(index * step)` of all indices of `shape`, in row-major order. */
export function stridedIndex(shape: readonly number[], step: readonly number[], offset: number): Int32Array {
  const result = new Int32Array(count(shape));
  const at = new Array<number>(shape.length).fill(0);
  let position = offset;
  for (let i = 0; i < result.length; i++) {
    result[i] = position;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position += step[axis]!;
      if (++at[axis]! < shape[axis]!) break;
      position -= step[axis]! * shape[axis]!;
      at[axis] = 0;
    }
  }
  return result;
}

/** Picks elements by flat index into a new array of `shape`. */
export const take = (x: NdArray, index: Int32Array, shape: readonly number[]): NdArray =>
  nd(
    x.dtype,
    shape,
    Float64Array.from(index, (i) => x.data[i]!),
  );

/** A shape split around one axis: [outer, size, inner]. */
export function around(shape: readonly number[], axis: number): readonly [outer: number, size: number, inner: number] {
  return [count(shape.slice(0, axis)), shape[axis] ?? 1, count(shape.slice(axis + 1))];
}
