import * as tf from '@tensorflow/tfjs-core';
import { axisOf, type NodeView, type Operations, product, unsupported } from './operation.js';
import { elementPositions, indicesOf } from './positions.js';

/** Writes `updates` into x at positions [rows, k] of its first k axes: added, or in place of what was there. */
function scatter(node: NodeView): (x: tf.Tensor, at: tf.Tensor, updates: tf.Tensor) => tf.Tensor {
  const reduction = node.string('reduction', 'none');
  if (reduction === 'add') return (x, at, updates) => tf.add(x, tf.scatterND(at, updates, x.shape));
  if (reduction === 'none') return (x, at, updates) => tf.tensorScatterUpdate(x, at, updates);
  throw unsupported(`reduction ${reduction}: use add or none`);
}

/** Operations that pick elements by index. */
export const indexing: Operations = {
  Gather: (node) => (inputs) => {
    const axis = axisOf(node.number('axis', 0), inputs.shape(0).length);
    return tf.gather(inputs.tensor(0), indicesOf(inputs, 1, [inputs.shape(0)[axis]!]), axis);
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
