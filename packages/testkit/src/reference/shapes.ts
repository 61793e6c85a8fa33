import { isFloat, PeftError } from '@peftjs/core';
import {
  around,
  axisOf,
  broadcastIndex,
  broadcastShape,
  count,
  type NdArray,
  nd,
  stridedIndex,
  strides,
  take,
} from './array.js';
import { dtypeOfCode } from './onnx-types.js';
import { integers, need, type Operations } from './operation.js';

/** Reshape's rule: 0 keeps the axis of the input, one -1 takes what is left. */
function resolve(shape: readonly number[], wanted: readonly number[], zeroIsZero: boolean): number[] {
  const kept = wanted.map((size, axis) => (size === 0 && !zeroIsZero ? (shape[axis] ?? 0) : size));
  const known = count(kept.filter((size) => size !== -1));
  return kept.map((size) => (size === -1 ? count(shape) / Math.max(1, known) : size));
}

export function slice(
  x: NdArray,
  axes: readonly number[],
  starts: readonly number[],
  ends: readonly number[],
  steps: readonly number[],
): NdArray {
  const own = strides(x.shape);
  const shape = [...x.shape];
  const step = [...own];
  let offset = 0;
  axes.forEach((given, i) => {
    const axis = axisOf(given, x.shape.length);
    const size = x.shape[axis]!;
    const by = steps[i] ?? 1;
    const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + size : v, low), high);
    const from = by > 0 ? clamp(starts[i]!, 0, size) : clamp(starts[i]!, 0, size - 1);
    const to = by > 0 ? clamp(ends[i]!, 0, size) : clamp(ends[i]!, -1, size - 1);
    shape[axis] = Math.max(0, Math.ceil((to - from) / by));
    step[axis] = own[axis]! * by;
    offset += from * own[axis]!;
  });
  return take(x, stridedIndex(shape, step, offset), shape);
}

export function concat(parts: readonly NdArray[], axis: number): NdArray {
  const first = need(parts, 0);
  const at = axisOf(axis, first.shape.length);
  const sizes = parts.map((part) => part.shape[at]!);
  const shape = first.shape.map((size, i) => (i === at ? sizes.reduce((a, b) => a + b, 0) : size));
  const [outer, total, inner] = around(shape, at);
  const out = nd(first.dtype, shape);
  let offset = 0;
  parts.forEach((part, p) => {
    const run = sizes[p]! * inner;
    for (let o = 0; o < outer; o++)
      out.data.set(part.data.subarray(o * run, (o + 1) * run), o * total * inner + offset);
    offset += run;
  });
  return out;
}

const reshaped = (x: NdArray, shape: readonly number[]): NdArray => nd(x.dtype, shape, x.data);

export const shapes: Operations = {
  Identity: (inputs) => need(inputs, 0),
  Reshape: (inputs, attributes) => {
    const x = need(inputs, 0);
    const shape = resolve(x.shape, Array.from(need(inputs, 1).data), attributes.number('allowzero', 0) === 1);
    if (count(shape) !== x.data.length) {
      throw new PeftError('GRAPH_INVALID', `${x.data.length} elements of [${x.shape}] do not fill [${shape}].`);
    }
    return reshaped(x, shape);
  },
  Flatten: (inputs, attributes) => {
    const x = need(inputs, 0);
    const axis = axisOf(attributes.number('axis', 1), x.shape.length);
    return reshaped(x, [count(x.shape.slice(0, axis)), count(x.shape.slice(axis))]);
  },
  Unsqueeze: (inputs, attributes) => {
    const x = need(inputs, 0);
    const axes = integers(inputs, 1, attributes, 'axes') ?? [];
    const added = new Set(axes.map((axis) => axisOf(axis, x.shape.length + axes.length)));
    const left = [...x.shape];
    return reshaped(
      x,
      Array.from({ length: x.shape.length + axes.length }, (_, i) => (added.has(i) ? 1 : left.shift()!)),
    );
  },
  Squeeze: (inputs, attributes) => {
    const x = need(inputs, 0);
    const axes = integers(inputs, 1, attributes, 'axes')?.map((axis) => axisOf(axis, x.shape.length));
    return reshaped(
      x,
      x.shape.filter((size, i) => (axes ? !axes.includes(i) : size !== 1)),
    );
  },
  Expand: (inputs) => {
    const x = need(inputs, 0);
    const shape = broadcastShape(x.shape, Array.from(need(inputs, 1).data));
    return take(x, broadcastIndex(x.shape, shape), shape);
  },
  Tile: (inputs) => {
    const x = need(inputs, 0);
    return Array.from(need(inputs, 1).data).reduce(
      (tiled, repeats, axis) =>
        concat(
          Array.from({ length: repeats }, () => tiled),
          axis,
        ),
      x,
    );
  },
  Concat: (inputs, attributes) =>
    concat(
      inputs.map((_, i) => need(inputs, i)),
      attributes.number('axis', 0),
    ),
  Slice: (inputs) => {
    const x = need(inputs, 0);
    const starts = Array.from(need(inputs, 1).data);
    const axes = Array.from(inputs[3]?.data ?? starts.keys());
    return slice(x, axes, starts, Array.from(need(inputs, 2).data), Array.from(inputs[4]?.data ?? starts.map(() => 1)));
  },
  Split: (inputs, attributes, outputs) => {
    const x = need(inputs, 0);
    const axis = axisOf(attributes.number('axis', 0), x.shape.length);
    const even = Math.ceil(x.shape[axis]! / attributes.number('num_outputs', outputs));
    const sizes = integers(inputs, 1, attributes, 'split') ?? Array.from({ length: outputs }, () => even);
    let from = 0;
    return sizes.map((size) => {
      const part = slice(x, [axis], [from], [from + size], [1]);
      from += size;
      return part;
    });
  },
  Pad: (inputs, attributes) => {
    const x = need(inputs, 0);
    const mode = attributes.string('mode', 'constant');
    if (mode !== 'constant')
      throw new PeftError('BACKEND_UNSUPPORTED', `Pad: mode ${mode} is not built; use constant.`);
    const axes = Array.from(inputs[3]?.data ?? x.shape.keys()).map((axis) => axisOf(axis, x.shape.length));
    const pads = Array.from(need(inputs, 1).data);
    const before = x.shape.map((_, axis) => pads[axes.indexOf(axis)] ?? 0);
    const after = x.shape.map((_, axis) => pads[axes.indexOf(axis) + axes.length] ?? 0);
    const sides = x.shape.map(
      (_, axis) => (axes.includes(axis) ? [before[axis]!, after[axis]!] : [0, 0]) as [number, number],
    );
    const out = nd(
      x.dtype,
      x.shape.map((size, axis) => size + sides[axis]![0] + sides[axis]![1]),
    );
    out.data.fill(inputs[2]?.data[0] ?? 0);
    const steps = strides(out.shape);
    const offset = sides.reduce((sum, [left], axis) => sum + left * steps[axis]!, 0);
    stridedIndex(x.shape, steps, offset).forEach((to, i) => {
      out.data[to] = x.data[i]!;
    });
    return out;
  },
  Cast: (inputs, attributes) => {
    const x = need(inputs, 0);
    const dtype = dtypeOfCode(attributes.number('to', 1));
    if (isFloat(dtype)) return nd(dtype, x.shape, x.data); // NOTE: never rounded, this is the float64 truth
    return nd(dtype, x.shape, x.data.map(dtype === 'bool' ? (v) => Number(v !== 0) : Math.trunc));
  },
};
