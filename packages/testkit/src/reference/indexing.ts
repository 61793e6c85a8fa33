import { type Attributes, PeftError } from '@peftjs/core';
import { around, axisOf, count, type NdArray, nd, strides } from './array.js';
import { need, type Operations } from './operation.js';

/** An index counted from the end when negative. @throws PeftError GRAPH_INVALID outside the axis */
function checked(index: number, size: number): number {
  const at = index < 0 ? index + size : index;
  if (at < 0 || at >= size) throw new PeftError('GRAPH_INVALID', `index ${index} is outside an axis of ${size}`);
  return at;
}

const reducers: Readonly<Record<string, (old: number, update: number) => number>> = {
  none: (_, update) => update,
  add: (old, update) => old + update,
  mul: (old, update) => old * update,
  min: Math.min,
  max: Math.max,
};

function reducer(attributes: Attributes) {
  const name = attributes.string('reduction', 'none');
  const reduce = reducers[name];
  if (!reduce) throw new PeftError('BACKEND_UNSUPPORTED', `reduction ${name} is not known`);
  return reduce;
}

/** Flat positions of single elements that `indices` name along `axis`, each at its own place in the other axes. */
function elementPositions(x: NdArray, indices: NdArray, axis: number): number[] {
  const steps = strides(x.shape);
  const own = strides(indices.shape);
  return Array.from(indices.data, (index, flat) =>
    steps.reduce((sum, step, i) => {
      const at = i === axis ? checked(index, x.shape[i]!) : Math.floor(flat / own[i]!) % indices.shape[i]!;
      return sum + at * step;
    }, 0),
  );
}

/** Flat positions of the slices that the rows of `indices` [..., k] name in the axes from `first` on. */
function slicePositions(x: NdArray, indices: NdArray, first = 0): number[] {
  const k = indices.shape.at(-1)!;
  const steps = strides(x.shape);
  return Array.from({ length: indices.data.length / k }, (_, row) => {
    let at = 0;
    for (let j = 0; j < k; j++) at += checked(indices.data[row * k + j]!, x.shape[first + j]!) * steps[first + j]!;
    return at;
  });
}

export const indexing: Operations = {
  Gather: (inputs, attributes) => {
    const [x, indices] = [need(inputs, 0), need(inputs, 1)];
    const axis = axisOf(attributes.number('axis', 0), x.shape.length);
    const [outer, size, inner] = around(x.shape, axis);
    const out = nd(x.dtype, [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)]);
    for (let o = 0; o < outer; o++) {
      indices.data.forEach((index, i) => {
        const from = (o * size + checked(index, size)) * inner;
        out.data.set(x.data.subarray(from, from + inner), (o * indices.data.length + i) * inner);
      });
    }
    return out;
  },
  GatherElements: (inputs, attributes) => {
    const [x, indices] = [need(inputs, 0), need(inputs, 1)];
    const at = elementPositions(x, indices, axisOf(attributes.number('axis', 0), x.shape.length));
    return nd(
      x.dtype,
      indices.shape,
      Float64Array.from(at, (i) => x.data[i]!),
    );
  },
  GatherND: (inputs, attributes) => {
    const [x, indices] = [need(inputs, 0), need(inputs, 1)];
    const lead = attributes.number('batch_dims', 0);
    const k = indices.shape.at(-1)!;
    const rest = x.shape.slice(lead + k);
    const batches = count(x.shape.slice(0, lead));
    const perBatch = indices.data.length / k / Math.max(1, batches);
    const out = nd(x.dtype, [...indices.shape.slice(0, -1), ...rest]);
    slicePositions(x, indices, lead).forEach((at, row) => {
      const from = Math.floor(row / perBatch) * count(x.shape.slice(lead)) + at;
      out.data.set(x.data.subarray(from, from + count(rest)), row * count(rest));
    });
    return out;
  },
  ScatterElements: (inputs, attributes) => {
    const [x, indices, updates] = [need(inputs, 0), need(inputs, 1), need(inputs, 2)];
    const reduce = reducer(attributes);
    const out = nd(x.dtype, x.shape, x.data.slice());
    elementPositions(x, indices, axisOf(attributes.number('axis', 0), x.shape.length)).forEach((at, i) => {
      out.data[at] = reduce(out.data[at]!, updates.data[i]!);
    });
    return out;
  },
  ScatterND: (inputs, attributes) => {
    const [x, indices, updates] = [need(inputs, 0), need(inputs, 1), need(inputs, 2)];
    const reduce = reducer(attributes);
    const run = count(x.shape.slice(indices.shape.at(-1)!));
    const out = nd(x.dtype, x.shape, x.data.slice());
    slicePositions(x, indices).forEach((at, row) => {
      for (let j = 0; j < run; j++) out.data[at + j] = reduce(out.data[at + j]!, updates.data[row * run + j]!);
    });
    return out;
  },
  OneHot: (inputs, attributes) => {
    const [indices, depth, values] = [need(inputs, 0), need(inputs, 1).data[0]!, need(inputs, 2)];
    const axis = axisOf(attributes.number('axis', -1), indices.shape.length + 1);
    const out = nd(values.dtype, indices.shape.toSpliced(axis, 0, depth));
    out.data.fill(values.data[0]!);
    const [outer, , inner] = around(out.shape, axis);
    for (let o = 0; o < outer; o++) {
      for (let i = 0; i < inner; i++) {
        const index = indices.data[o * inner + i]!;
        const at = index < 0 ? index + depth : index;
        if (at >= 0 && at < depth) out.data[(o * depth + at) * inner + i] = values.data[1]!;
      }
    }
    return out;
  },
};
