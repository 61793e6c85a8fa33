import { PeftError } from '../../errors.js';
import type { DType } from '../../tensor/tensor.js';
import { addDim, broadcast, dim as canonical, type Dim, sameShape, sizeOf, subDim } from '../dim.js';
import type { ShapedValue } from '../graph.js';
import { axisOf, type Builder, int } from './builder.js';

export function shapes(b: Builder) {
  /** The shape operand of Reshape: 0 copies an axis, one -1 is inferred, anything else is computed at run time. */
  function reshapeOperand(from: readonly Dim[], to: readonly Dim[]): ShapedValue {
    const known = to.map((d, i) => (typeof d === 'number' ? d : from[i] === d ? 0 : undefined));
    if (known.filter((d) => d === undefined).length <= 1) return b.i64(known.map((d) => d ?? -1));
    return b.shape(to);
  }

  function reshape(x: ShapedValue, dims: readonly Dim[]): ShapedValue {
    const to = dims.map(canonical);
    if (sizeOf(x.shape) !== sizeOf(to))
      throw new PeftError('GRAPH_INVALID', `Reshape: "${x.name}" [${x.shape}] has not the size of [${to}].`);
    if (sameShape(x.shape, to)) return x;
    return b.emit('Reshape', [x, reshapeOperand(x.shape, to)], x.dtype, to);
  }

  return {
    reshape,
    /** Repeats axes of extent 1, and adds leading ones. */
    expand(x: ShapedValue, dims: readonly Dim[]): ShapedValue {
      const to = dims.map(canonical);
      if (sameShape(x.shape, to)) return x;
      if (!sameShape(broadcast(x.shape, to, 'Expand'), to))
        throw new PeftError('GRAPH_INVALID', `Expand: [${x.shape}] does not grow to [${to}].`);
      return b.emit('Expand', [x, b.shape(to)], x.dtype, to);
    },
    /** `axes` count in the result. */
    unsqueeze(x: ShapedValue, axes: readonly number[]): ShapedValue {
      const rank = x.shape.length + axes.length;
      const at = new Set(axes.map((a) => axisOf(a, rank, 'Unsqueeze')));
      const rest = [...x.shape];
      const shape = Array.from({ length: rank }, (_, i) => (at.has(i) ? 1 : rest.shift()!));
      return b.emit('Unsqueeze', [x, b.i64([...at].sort((p, q) => p - q))], x.dtype, shape);
    },
    squeeze(x: ShapedValue, axes: readonly number[]): ShapedValue {
      const at = new Set(axes.map((a) => axisOf(a, x.shape.length, 'Squeeze')));
      for (const axis of at)
        if (x.shape[axis] !== 1)
          throw new PeftError('GRAPH_INVALID', `Squeeze: axis ${axis} of "${x.name}" [${x.shape}] is not 1.`);
      const shape = x.shape.filter((_, i) => !at.has(i));
      return b.emit('Squeeze', [x, b.i64([...at].sort((p, q) => p - q))], x.dtype, shape);
    },
    concat(values: readonly ShapedValue[], axis: number): ShapedValue {
      const first = values[0];
      if (!first) throw new PeftError('GRAPH_INVALID', 'Concat: no values.');
      if (values.length === 1) return first;
      const at = axisOf(axis, first.shape.length, 'Concat');
      for (const v of values)
        if (v.shape.length !== first.shape.length || v.shape.some((d, i) => i !== at && d !== first.shape[i]))
          throw new PeftError('GRAPH_INVALID', `Concat: [${v.shape}] ("${v.name}") beside [${first.shape}].`);
      const extent = values.map((v) => v.shape[at]!).reduce(addDim);
      return b.emit('Concat', values, first.dtype, first.shape.with(at, extent), { axis: int(at) });
    },
    /** `from` (inclusive) to `to` (exclusive) of one axis; extents may be symbolic, numbers may count from the end. */
    slice(x: ShapedValue, axis: number, from: Dim, to: Dim): ShapedValue {
      const at = axisOf(axis, x.shape.length, 'Slice');
      const extent = x.shape[at]!;
      const place = (d: Dim) => (typeof d === 'number' && d < 0 ? addDim(extent, d) : canonical(d));
      const [start, end] = [place(from), place(to)];
      const shape = x.shape.with(at, subDim(end, start));
      return b.emit('Slice', [x, b.dim(start), b.dim(end), b.i64([at])], x.dtype, shape);
    },
    split(x: ShapedValue, axis: number, sizes: readonly Dim[]): ShapedValue[] {
      const at = axisOf(axis, x.shape.length, 'Split');
      if (sizes.reduce(addDim, 0 as Dim) !== x.shape[at])
        throw new PeftError('GRAPH_INVALID', `Split: [${sizes}] do not add up to ${x.shape[at]} of "${x.name}".`);
      const outputs = sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.with(at, size) }));
      return b.node('Split', [x, b.shape(sizes)], outputs, { axis: int(at) });
    },
    fill(dims: readonly Dim[], number: number, dtype: DType = 'f32'): ShapedValue {
      const scalar = b.scalar(number, dtype);
      return dims.length === 0 ? scalar : b.emit('Expand', [scalar, b.shape(dims)], dtype, dims);
    },
    /** 0, 1, ..., extent - 1: i64 [extent]. */
    range(extent: Dim): ShapedValue {
      const end = b.emit('Squeeze', [b.dim(extent), b.i64([0])], 'i64', []);
      return b.emit('Range', [b.scalar(0, 'i64'), end, b.scalar(1, 'i64')], 'i64', [extent]);
    },
  };
}
