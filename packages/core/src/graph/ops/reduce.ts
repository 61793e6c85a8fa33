import type { ShapedValue } from '../graph.js';
import { axisOf, type Builder, int } from './builder.js';

export interface ReduceOptions {
  readonly keepdims?: boolean;
}

export function reductions(b: Builder) {
  const reduce =
    (op: string) =>
    (x: ShapedValue, axes: readonly number[], { keepdims = true }: ReduceOptions = {}): ShapedValue => {
      const at = [...new Set(axes.map((a) => axisOf(a, x.shape.length, op)))].sort((p, q) => p - q);
      const shape = keepdims
        ? x.shape.map((d, i) => (at.includes(i) ? 1 : d))
        : x.shape.filter((_, i) => !at.includes(i));
      return b.emit(op, [x, b.i64(at)], x.dtype, shape, { keepdims: int(keepdims ? 1 : 0) });
    };
  return {
    sum: reduce('ReduceSum'),
    mean: reduce('ReduceMean'),
    maxOver: reduce('ReduceMax'),
    /** Index of the largest element (the first of equals): i64, the axis removed. */
    argmax(x: ShapedValue, axis: number): ShapedValue {
      const at = axisOf(axis, x.shape.length, 'ArgMax');
      const shape = x.shape.filter((_, i) => i !== at);
      return b.emit('ArgMax', [x], 'i64', shape, { axis: int(at), keepdims: int(0) });
    },
  };
}
