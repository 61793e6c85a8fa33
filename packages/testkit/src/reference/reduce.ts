import { PeftError } from '@peftjs/core';
import { around, axisOf, broadcastIndex, type NdArray, nd } from './array.js';
import { integers, need, type Operation, type Operations } from './operation.js';

interface Reducer {
  readonly start: number;
  step(sum: number, value: number): number;
  finish?(sum: number, size: number): number;
}

function reduce(x: NdArray, axes: readonly number[], keep: boolean, { start, step, finish }: Reducer): NdArray {
  const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const to = broadcastIndex(kept, x.shape);
  const out = nd(x.dtype, keep ? kept : x.shape.filter((_, axis) => !axes.includes(axis)));
  out.data.fill(start);
  to.forEach((at, i) => {
    out.data[at] = step(out.data[at]!, x.data[i]!);
  });
  const size = x.data.length / Math.max(1, out.data.length);
  return finish
    ? nd(
        out.dtype,
        out.shape,
        out.data.map((v) => finish(v, size)),
      )
    : out;
}

const over =
  (rule: Reducer): Operation =>
  (inputs, attributes) => {
    const x = need(inputs, 0);
    const given = integers(inputs, 1, attributes, 'axes');
    if (!given?.length && attributes.number('noop_with_empty_axes', 0)) return x;
    const axes = given?.length ? given.map((axis) => axisOf(axis, x.shape.length)) : [...x.shape.keys()];
    return reduce(x, axes, attributes.number('keepdims', 1) === 1, rule);
  };

/** Index of the best element along one axis, the first of equals unless the last is asked for. */
const arg =
  (better: (a: number, b: number) => boolean): Operation =>
  (inputs, attributes) => {
    const x = need(inputs, 0);
    const axis = axisOf(attributes.number('axis', 0), x.shape.length);
    const last = attributes.number('select_last_index', 0) === 1;
    const [outer, size, inner] = around(x.shape, axis);
    const shape = attributes.number('keepdims', 1) ? x.shape.with(axis, 1) : x.shape.toSpliced(axis, 1);
    const out = nd('i64', shape);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const value = (k: number) => x.data[(o * size + k) * inner + i]!;
        let best = 0;
        for (let k = 1; k < size; k++)
          if (better(value(k), value(best)) || (last && value(k) === value(best))) best = k;
        out.data[o * inner + i] = best;
      }
    }
    return out;
  };

export const reductions: Operations = {
  ReduceSum: over({ start: 0, step: (s, v) => s + v }),
  ReduceMean: over({ start: 0, step: (s, v) => s + v, finish: (s, n) => s / n }),
  ReduceMax: over({ start: Number.NEGATIVE_INFINITY, step: Math.max }),
  ReduceMin: over({ start: Number.POSITIVE_INFINITY, step: Math.min }),
  ReduceProd: over({ start: 1, step: (s, v) => s * v }),
  ReduceSumSquare: over({ start: 0, step: (s, v) => s + v * v }),
  ReduceL1: over({ start: 0, step: (s, v) => s + Math.abs(v) }),
  ReduceL2: over({ start: 0, step: (s, v) => s + v * v, finish: Math.sqrt }),
  ArgMax: arg((a, b) => a > b),
  ArgMin: arg((a, b) => a < b),

  CumSum: (inputs, attributes) => {
    const x = need(inputs, 0);
    const [outer, size, inner] = around(x.shape, axisOf(need(inputs, 1).data[0]!, x.shape.length));
    const exclusive = attributes.number('exclusive', 0) === 1;
    const reverse = attributes.number('reverse', 0) === 1;
    const out = nd(x.dtype, x.shape);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        let sum = 0;
        for (let k = 0; k < size; k++) {
          const at = (o * size + (reverse ? size - 1 - k : k)) * inner + i;
          if (exclusive) out.data[at] = sum;
          sum += x.data[at]!;
          if (!exclusive) out.data[at] = sum;
        }
      }
    }
    return out;
  },

  /** Values and indices; of equal values the lower index comes first. */
  TopK: (inputs, attributes) => {
    const x = need(inputs, 0);
    const k = need(inputs, 1).data[0]!;
    const axis = axisOf(attributes.number('axis', -1), x.shape.length);
    const sign = attributes.number('largest', 1) ? -1 : 1;
    const [outer, size, inner] = around(x.shape, axis);
    if (k > size) throw new PeftError('GRAPH_INVALID', `TopK: ${k} of ${size} elements`);
    const values = nd(x.dtype, x.shape.with(axis, k));
    const indices = nd('i64', values.shape);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const value = (j: number) => x.data[(o * size + j) * inner + i]!;
        const order = Array.from({ length: size }, (_, j) => j).sort((a, b) => sign * (value(a) - value(b)) || a - b);
        order.slice(0, k).forEach((j, rank) => {
          values.data[(o * k + rank) * inner + i] = value(j);
          indices.data[(o * k + rank) * inner + i] = j;
        });
      }
    }
    return [values, indices];
  },

  /** Keeps the triangle above (upper) or below the k-th diagonal of the last two axes. */
  Trilu: (inputs, attributes) => {
    const x = need(inputs, 0);
    const k = inputs[1]?.data[0] ?? 0;
    const upper = attributes.number('upper', 1) === 1;
    const [rows, columns] = x.shape.slice(-2) as [number, number];
    const keep = (i: number) => {
      const diagonal = (i % columns) - (Math.floor(i / columns) % rows) - k;
      return upper ? diagonal >= 0 : diagonal <= 0;
    };
    return nd(
      x.dtype,
      x.shape,
      x.data.map((v, i) => (keep(i) ? v : 0)),
    );
  },
};
