import * as tf from '@tensorflow/tfjs-core';
import { type Operation, type Operations, unsupported } from './operation.js';

/** One entry for each of the two axes of an image: a signal has one row. */
const two = (values: readonly number[] | undefined, missing: number): [number, number] =>
  values === undefined ? [missing, missing] : values.length === 1 ? [missing, values[0]!] : [values[0]!, values[1]!];

/** x [n, c, ...size], w [m, c / group, ...kernel], bias [m], over one or two axes. */
const conv: Operation = (node) => {
  const rank = node.rank(0);
  const padding = node.string('auto_pad', 'NOTSET');
  if (rank !== undefined && rank !== 3 && rank !== 4) throw unsupported(`an input of rank ${rank}: use 3 or 4`);
  if (padding !== 'NOTSET' && padding !== 'VALID') throw unsupported(`auto_pad ${padding}: use pads`);
  const strides = two(node.numbers('strides'), 1);
  const dilations = two(node.numbers('dilations'), 1);
  if (Math.max(...strides) > 1 && Math.max(...dilations) > 1) throw unsupported('strides together with dilations');
  const pads = node.numbers('pads') ?? [];
  const before = two(pads.length ? pads.slice(0, pads.length / 2) : undefined, 0);
  const after = two(pads.length ? pads.slice(pads.length / 2) : undefined, 0);
  const groups = node.number('group', 1);
  return (inputs) => {
    const isSignal = inputs.shape(0).length === 3;
    const image = (i: number) => (isSignal ? tf.expandDims(inputs.tensor(i), 2) : inputs.tensor(i));
    const sides: [number, number][] = [
      [0, 0],
      [before[0], after[0]],
      [before[1], after[1]],
      [0, 0],
    ];
    const x = tf.pad(tf.transpose(image(0), [0, 2, 3, 1]), sides); // channels last, as TensorFlow.js has them
    const w = tf.transpose(image(1), [2, 3, 1, 0]);
    const filters = tf.split(w, groups, 3) as tf.Tensor4D[];
    const parts = (tf.split(x, groups, 3) as tf.Tensor4D[]).map((part, g) =>
      tf.conv2d(part, filters[g]!, strides, 'valid', 'NHWC', dilations),
    );
    const sum = tf.concat(parts, 3);
    const y = tf.transpose(inputs.has(2) ? tf.add(sum, inputs.tensor(2)) : sum, [0, 3, 1, 2]);
    return isSignal ? tf.squeeze(y, [2]) : y;
  };
};

export const convolution: Operations = { Conv: conv };
