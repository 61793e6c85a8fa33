import { PeftError } from '@peftjs/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Inputs, product } from './operation.js';

/**
 * Input `i` as indices into axes of the given extents (the last axis of the indices runs over them; one extent: every
 * index), none of them negative. They are checked where JavaScript knows them, which fed ones are.
 * @throws PeftError GRAPH_INVALID for an index outside its axis
 */
export function indicesOf(inputs: Inputs, i: number, extents: readonly number[]): tf.Tensor {
  const known = inputs.known(i);
  if (!known) {
    const at = inputs.tensor(i);
    return tf.where(tf.less(at, 0), tf.add(at, tf.tensor1d([...extents], 'int32')), at);
  }
  const positive = known.map((index, n) => {
    const extent = extents[n % extents.length]!;
    const at = index < 0 ? index + extent : index;
    if (at < 0 || at >= extent) throw new PeftError('GRAPH_INVALID', `index ${index} is outside an axis of ${extent}`);
    return at;
  });
  return tf.tensor(positive, [...inputs.shape(i)], 'int32');
}

/**
 * Flat positions, int32 [elements, 1], of the single elements that input `i` names along `axis` of a value of `shape`,
 * each at its own place in the other axes.
 */
export function elementPositions(inputs: Inputs, i: number, shape: readonly number[], axis: number): tf.Tensor {
  const own = inputs.shape(i);
  const step = (axis: number, of: readonly number[]) => product(of.slice(axis + 1));
  const base = Int32Array.from({ length: product(own) }, (_, flat) =>
    shape.reduce((sum, _, k) => {
      const at = k === axis ? 0 : Math.floor(flat / step(k, own)) % own[k]!;
      return sum + at * step(k, shape);
    }, 0),
  );
  const along = tf.reshape(indicesOf(inputs, i, [shape[axis]!]), [-1]);
  const flat = tf.add(tf.mul(along, tf.scalar(step(axis, shape), 'int32')), tf.tensor1d(base, 'int32'));
  return tf.reshape(flat, [base.length, 1]);
}
