import * as tf from '@tensorflow/tfjs-core';
import { axisOf, type Operation, type Operations, unsupported } from './operation.js';

const shifted = (x: tf.Tensor, axis: number) => tf.sub(x, tf.max(x, axis, true));

/** Along one axis; `f` gets x minus its largest element. */
const along =
  (f: (x: tf.Tensor, axis: number) => tf.Tensor): Operation =>
  (node) =>
  (inputs) => {
    const axis = axisOf(node.number('axis', -1), inputs.shape(0).length);
    return f(shifted(inputs.tensor(0), axis), axis);
  };

const softmax = (x: tf.Tensor, axis: number): tf.Tensor => {
  const e = tf.exp(x);
  return tf.div(e, tf.sum(e, axis, true));
};

/** The result, and the mean and the inverse standard deviation of each row, over the axes from `axis` on. */
const layerNorm: Operation = (node) => {
  const epsilon = node.number('epsilon', 1e-5);
  return (inputs) => {
    const x = inputs.tensor(0);
    const first = axisOf(node.number('axis', -1), x.rank);
    const axes = Array.from({ length: x.rank - first }, (_, i) => first + i);
    const mean = tf.mean(x, axes, true);
    const centred = tf.sub(x, mean);
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centred), axes, true), epsilon));
    const scaled = tf.mul(tf.mul(centred, inverse), inputs.tensor(1));
    return [inputs.has(2) ? tf.add(scaled, inputs.tensor(2)) : scaled, mean, inverse].slice(0, node.outputs);
  };
};

/** x / sqrt(mean(x²) + ε) · scale over the axes from `axis` on. */
const rmsNorm: Operation = (node) => {
  const epsilon = node.number('epsilon', 1e-5);
  return (inputs) => {
    const x = inputs.tensor(0);
    const first = axisOf(node.number('axis', -1), x.rank);
    const axes = Array.from({ length: x.rank - first }, (_, i) => first + i);
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(x), axes, true), epsilon));
    return tf.mul(tf.mul(x, inverse), inputs.tensor(1));
  };
};

/**
 * x [batch, heads, length, d] turned by caches [batch, length, d/2], or by rows of caches [positions, d/2] that
 * position_ids [batch, length] name. Pairs are (i, i + d/2), or neighbours when `interleaved`.
 */
const rotary: Operation = (node) => {
  if ((node.rank(0) ?? 4) !== 4) throw unsupported('an input that is not [batch, heads, length, d]');
  const interleaved = node.number('interleaved', 0) === 1;
  const turned = node.number('rotary_embedding_dim', 0);
  return (inputs) => {
    const x = inputs.tensor(0);
    const [batch, heads, length, d] = x.shape as [number, number, number, number];
    const half = (turned || d) / 2;
    const cache = (i: number) => {
      const rows = inputs.has(3) ? tf.gather(inputs.tensor(i), inputs.tensor(3)) : inputs.tensor(i);
      return tf.reshape(rows, interleaved ? [batch, 1, length, half, 1] : [batch, 1, length, half]);
    };
    const [cos, sin] = [cache(1), cache(2)];
    const [head, rest] = tf.split(x, [2 * half, d - 2 * half], 3) as [tf.Tensor, tf.Tensor];
    const [p, q] = tf.split(interleaved ? tf.reshape(head, [batch, heads, length, half, 2]) : head, 2, -1) as [
      tf.Tensor,
      tf.Tensor,
    ];
    const pair = [tf.sub(tf.mul(p, cos), tf.mul(q, sin)), tf.add(tf.mul(q, cos), tf.mul(p, sin))];
    const result = tf.reshape(tf.concat(pair, -1), [batch, heads, length, 2 * half]);
    return d === 2 * half ? result : tf.concat([result, rest], 3);
  };
};

export const network: Operations = {
  Softmax: along(softmax),
  LogSoftmax: along((x, axis) => tf.sub(x, tf.log(tf.sum(tf.exp(x), axis, true)))),
  LayerNormalization: layerNorm,
  RMSNormalization: rmsNorm,
  RotaryEmbedding: rotary,
};
