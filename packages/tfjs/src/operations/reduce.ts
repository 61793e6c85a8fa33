import * as tf from '@tensorflow/tfjs-core';
import { axisOf, integers, type Operation, type Operations } from './operation.js';

/** @param nothing the result over no elements */
const over =
  (reduce: (x: tf.Tensor, axes: number[]) => tf.Tensor, nothing: number): Operation =>
  (node) => {
    const keepdims = node.number('keepdims', 1) === 1;
    const emptyIsNone = node.number('noop_with_empty_axes', 0) === 1;
    return (inputs) => {
      const { length } = inputs.shape(0);
      const given = integers(inputs, 1, node, 'axes');
      if (!given?.length && emptyIsNone) return tf.clone(inputs.tensor(0));
      const axes = given?.length ? given.map((axis) => axisOf(axis, length)) : [...inputs.shape(0).keys()];
      const x = inputs.tensor(0);
      const shape = x.shape.flatMap((size, axis) => (!axes.includes(axis) ? size : keepdims ? 1 : []));
      if (x.size === 0) return tf.fill(shape, nothing);
      return tf.reshape(reduce(x, axes), shape);
    };
  };

/** Index of the best element along one axis, the first of equals unless the last is asked for. */
const arg =
  (best: (x: tf.Tensor, axis: number) => tf.Tensor): Operation =>
  (node) => {
    const keepdims = node.number('keepdims', 1) === 1;
    const last = node.number('select_last_index', 0) === 1;
    return (inputs) => {
      const x = inputs.tensor(0);
      const axis = axisOf(node.number('axis', 0), x.rank);
      const first = best(last ? tf.reverse(x, axis) : x, axis);
      const at = last ? tf.sub(tf.scalar(x.shape[axis]! - 1, 'int32'), first) : first;
      return keepdims ? tf.expandDims(at, axis) : at;
    };
  };

/** x with `axis` moved to the end, and the way back. */
function lastAxis(x: tf.Tensor, axis: number): { moved: tf.Tensor; back: (y: tf.Tensor) => tf.Tensor } {
  const order = [...Array(x.rank).keys()].filter((i) => i !== axis).concat(axis);
  const inverse = order.map((_, i) => order.indexOf(i));
  return { moved: tf.transpose(x, order), back: (y) => tf.transpose(y, inverse) };
}

export const reductions: Operations = {
  ReduceSum: over(tf.sum, 0),
  ReduceMean: over(tf.mean, Number.NaN),
  ReduceMax: over(tf.max, Number.NEGATIVE_INFINITY),
  ReduceMin: over(tf.min, Number.POSITIVE_INFINITY),
  ReduceProd: over(tf.prod, 1),
  ReduceSumSquare: over((x, axes) => tf.sum(tf.square(x), axes), 0),
  ReduceL1: over((x, axes) => tf.sum(tf.abs(x), axes), 0),
  ReduceL2: over((x, axes) => tf.sqrt(tf.sum(tf.square(x), axes)), 0),
  ArgMax: arg(tf.argMax),
  ArgMin: arg(tf.argMin),
  CumSum: (node) => {
    const [exclusive, reverse] = [node.number('exclusive', 0) === 1, node.number('reverse', 0) === 1];
    return (inputs) => {
      const axis = axisOf(inputs.numbers(1)[0]!, inputs.shape(0).length);
      return tf.cumsum(inputs.tensor(0), axis, exclusive, reverse);
    };
  },
  /** Values and indices; of equal values the lower index comes first. */
  TopK: (node) => {
    const largest = node.number('largest', 1) === 1;
    return (inputs) => {
      const x = inputs.tensor(0);
      const { moved, back } = lastAxis(x, axisOf(node.number('axis', -1), x.rank));
      const { values, indices } = tf.topk(largest ? moved : tf.neg(moved), inputs.numbers(1)[0]!);
      return [back(largest ? values : tf.neg(values)), back(indices)];
    };
  },
  /** The triangle above (upper) or below the k-th diagonal of the last two axes, zeros elsewhere. */
  Trilu: (node) => {
    const upper = node.number('upper', 1) === 1;
    return (inputs) => {
      const x = inputs.tensor(0);
      const k = inputs.has(1) ? inputs.numbers(1)[0]! : 0;
      const [rows, columns] = x.shape.slice(-2) as [number, number];
      const kept = Array.from({ length: rows * columns }, (_, i) => {
        const diagonal = (i % columns) - Math.floor(i / columns) - k;
        return upper ? diagonal >= 0 : diagonal <= 0;
      });
      return tf.where(tf.tensor2d(kept, [rows, columns], 'bool'), x, tf.zerosLike(x));
    };
  },
};
