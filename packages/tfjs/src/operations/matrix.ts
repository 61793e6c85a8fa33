import { broadcast } from '@peftjs/core';
import * as tf from '@tensorflow/tfjs-core';
import type { DeviceTraits, Operations } from './operation.js';

type T = tf.Tensor;

/** Some devices leave products over no elements at all as whatever was in memory before. */
const isEmpty = (a: T, b: T) => a.size === 0 || b.size === 0;

/** op(A) op(B) of two matrices. */
function multiply(a: T, b: T, transA: boolean, transB: boolean, { transposeFirst }: DeviceTraits): T {
  if (isEmpty(a, b)) return tf.zeros([a.shape[transA ? 1 : 0]!, b.shape[transB ? 0 : 1]!]);
  if (!transposeFirst) return tf.matMul(a, b, transA, transB);
  return tf.matMul(transA ? tf.transpose(a) : a, transB ? tf.transpose(b) : b);
}

/**
 * Repeats a batch of matrices up to the batch axes `lead`, unless it only lacks the first of them: TensorFlow.js
 * broadcasts a batch by counting through it again and again, which is wrong where an axis of 1 stands behind others.
 */
function repeated(x: T, lead: readonly number[]): T {
  const own = x.shape.slice(0, -2);
  const from = own.findIndex((size) => size !== 1);
  if (from < 0 || own.slice(from).join() === lead.slice(lead.length - own.length + from).join()) return x;
  const full = [...Array<number>(lead.length - own.length).fill(1), ...own];
  const times = full.map((size, axis) => (size === lead[axis] ? 1 : lead[axis]!));
  return tf.tile(tf.reshape(x, [...full, ...x.shape.slice(-2)]), [...times, 1, 1]);
}

/** Matrices, or batches of them whose leading axes broadcast. */
function batched(a: T, b: T): T {
  const lead = broadcast(a.shape.slice(0, -2), b.shape.slice(0, -2), 'MatMul') as number[];
  if (isEmpty(a, b)) return tf.zeros([...lead, a.shape.at(-2)!, b.shape.at(-1)!]);
  return tf.matMul(repeated(a, lead), repeated(b, lead));
}

const scaled = (x: T, by: number): T => (by === 1 ? x : tf.mul(x, by));

export const matrix: Operations = {
  /** A vector is a row on the left and a column on the right. */
  MatMul: () => (inputs) => {
    const [a, b] = [inputs.tensor(0), inputs.tensor(1)];
    const result = batched(a.rank === 1 ? tf.expandDims(a, 0) : a, b.rank === 1 ? tf.expandDims(b, 1) : b);
    const gone = [...(a.rank === 1 ? [-2] : []), ...(b.rank === 1 ? [-1] : [])];
    return gone.length > 0
      ? tf.squeeze(
          result,
          gone.map((axis) => axis + result.rank),
        )
      : result;
  },
  /** α op(A) op(B) + β C */
  Gemm: (node) => {
    const [transA, transB] = [node.number('transA', 0) === 1, node.number('transB', 0) === 1];
    const [alpha, beta] = [node.number('alpha', 1), node.number('beta', 1)];
    return (inputs) => {
      const result = scaled(multiply(inputs.tensor(0), inputs.tensor(1), transA, transB, node.device), alpha);
      return inputs.has(2) ? tf.add(result, scaled(inputs.tensor(2), beta)) : result;
    };
  },
  Transpose: (node) => {
    const perm = node.numbers('perm');
    return (inputs) => tf.transpose(inputs.tensor(0), perm && [...perm]);
  },
};
