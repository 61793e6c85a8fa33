import * as tf from '@tensorflow/tfjs-core';
import { axisOf, type NodeView, type Operations, product, unsupported } from './operation.js';
import { elementPositions, indicesOf } from './positions.js';

type T = tf.Tensor;

/** How updates and what was there before become one: `scattered` is the sum of the updates at each place. */
const reductions: Readonly<Record<string, (x: T, scattered: T, touched: () => T) => T>> = {
  add: (x, scattered) => tf.add(x, scattered),
  // The indices of a replacement name no place twice.
  none: (x, scattered, touched) => tf.where(touched(), scattered, x),
};

/** Writes `updates` into x at positions [rows, k] of its first k axes. */
function scatter(node: NodeView): (x: T, at: T, updates: T) => T {
  const name = node.string('reduction', 'none');
  const reduce = reductions[name];
  if (!reduce) throw unsupported(`reduction ${name}: use ${Object.keys(reductions).join(' or ')}`);
  return (x, at, updates) => {
    if (x.size === 0 || updates.size === 0) return tf.clone(x);
    const touched = () => tf.greater(tf.scatterND(at, tf.onesLike(updates), x.shape), 0);
    return reduce(x, tf.scatterND(at, updates, x.shape), touched);
  };
}

/** Operations that pick elements by index. */
export const indexing: Operations = {
  Gather: (node) => (inputs) => {
    const shape = inputs.shape(0);
    const axis = axisOf(node.number('axis', 0), shape.length);
    const at = indicesOf(inputs, 1, [shape[axis]!]);
    // Some devices give slices of no elements another shape.
    if (product(shape) === 0) return tf.zeros(shape.toSpliced(axis, 1, ...at.shape));
    return tf.gather(inputs.tensor(0), at, axis);
  },
  GatherElements: (node) => (inputs) => {
    const axis = axisOf(node.number('axis', 0), inputs.shape(0).length);
    const at = tf.reshape(elementPositions(inputs, 1, inputs.shape(0), axis), [-1]);
    return tf.reshape(tf.gather(tf.reshape(inputs.tensor(0), [-1]), at), [...inputs.shape(1)]);
  },
  GatherND: (node) => {
    if (node.number('batch_dims', 0) !== 0) throw unsupported('batch_dims: use 0');
    return (inputs) => {
      const k = inputs.shape(1).at(-1)!;
      return tf.gatherND(inputs.tensor(0), indicesOf(inputs, 1, inputs.shape(0).slice(0, k)));
    };
  },
  ScatterElements: (node) => {
    const write = scatter(node);
    return (inputs) => {
      const shape = [...inputs.shape(0)];
      const at = elementPositions(inputs, 1, shape, axisOf(node.number('axis', 0), shape.length));
      const flat = (i: number) => tf.reshape(inputs.tensor(i), [-1]);
      return tf.reshape(write(flat(0), at, flat(2)), shape);
    };
  },
  ScatterND: (node) => {
    const write = scatter(node);
    return (inputs) => {
      const [shape, indices] = [inputs.shape(0), inputs.shape(1)];
      const k = indices.at(-1)!;
      const rows = product(indices.slice(0, -1));
      const at = tf.reshape(indicesOf(inputs, 1, shape.slice(0, k)), [rows, k]);
      return write(inputs.tensor(0), at, tf.reshape(inputs.tensor(2), [rows, ...shape.slice(k)]));
    };
  },
  OneHot: (node) => (inputs) => {
    const depth = inputs.numbers(1)[0]!;
    const [off, on] = tf.split(inputs.tensor(2), 2) as [tf.Tensor, tf.Tensor];
    const at = inputs.tensor(0);
    const hot = tf.equal(
      tf.expandDims(tf.where(tf.less(at, 0), tf.add(at, tf.scalar(depth, 'int32')), at), -1),
      tf.range(0, depth, 1, 'int32'),
    );
    const last = tf.where(hot, on, off);
    const axis = axisOf(node.number('axis', -1), last.rank);
    const order = [...Array(last.rank - 1).keys()].toSpliced(axis, 0, last.rank - 1);
    return tf.transpose(last, order);
  },
};
