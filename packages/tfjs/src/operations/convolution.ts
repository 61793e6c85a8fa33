import * as tf from '@tensorflow/tfjs-core';
import { type Inputs, type NodeView, type Operation, type Operations, unsupported } from './operation.js';

type Pair = [number, number];

/** One entry for each of the two axes of an image: a signal has one row. */
const two = (values: readonly number[] | undefined, missing: number): Pair =>
  values === undefined ? [missing, missing] : values.length === 1 ? [missing, values[0]!] : [values[0]!, values[1]!];

/** How the kernel of a node moves. @throws PeftError BACKEND_UNSUPPORTED */
function settingsOf(node: NodeView) {
  const rank = node.rank(0);
  const padding = node.string('auto_pad', 'NOTSET');
  if (rank !== undefined && rank !== 3 && rank !== 4) throw unsupported(`an input of rank ${rank}: use 3 or 4`);
  if (padding !== 'NOTSET' && padding !== 'VALID') throw unsupported(`auto_pad ${padding}: use pads`);
  const pads = node.numbers('pads') ?? [];
  return {
    strides: two(node.numbers('strides'), 1),
    dilations: two(node.numbers('dilations'), 1),
    before: two(pads.length ? pads.slice(0, pads.length / 2) : undefined, 0),
    after: two(pads.length ? pads.slice(pads.length / 2) : undefined, 0),
    groups: node.number('group', 1),
  };
}

/** Input `i` as [n, c, height, width]; a signal is an image of one row. */
const image = (inputs: Inputs, i: number): tf.Tensor4D =>
  (inputs.shape(0).length === 3 ? tf.expandDims(inputs.tensor(i), 2) : inputs.tensor(i)) as tf.Tensor4D;

/** w [height, width, in, out] with zeros between its rows and columns: TensorFlow.js has no gaps beside strides. */
function spread(w: tf.Tensor4D, dilations: Pair): tf.Tensor4D {
  const [height, width, ...channels] = w.shape;
  const depth = channels[0]! * channels[1]!;
  const along = (x: tf.Tensor, before: number, size: number, rest: number, gap: number) => {
    if (gap === 1) return x;
    const rows = tf.pad(tf.reshape(x, [before * size, 1, rest]), [
      [0, 0],
      [0, gap - 1],
      [0, 0],
    ]);
    return tf.slice(tf.reshape(rows, [before, size * gap, rest]), [0, 0, 0], [before, (size - 1) * gap + 1, rest]);
  };
  const tall = (height - 1) * dilations[0] + 1;
  const wide = (width - 1) * dilations[1] + 1;
  const rows = along(w, 1, height, width * depth, dilations[0]);
  return tf.reshape(along(rows, tall, width, depth, dilations[1]), [tall, wide, channels[0]!, channels[1]!]);
}

/** Back to channels first, with the bias, and a signal again where it was one. */
function finish(inputs: Inputs, parts: tf.Tensor4D[]): tf.Tensor {
  const sum = tf.concat(parts, 3);
  const y = tf.transpose(inputs.has(2) ? tf.add(sum, inputs.tensor(2)) : sum, [0, 3, 1, 2]);
  return inputs.shape(0).length === 3 ? tf.squeeze(y, [2]) : y;
}

/** x [n, c, ...size], w [m, c / group, ...kernel], bias [m], over one or two axes. */
const conv: Operation = (node) => {
  const { strides, dilations, before, after, groups } = settingsOf(node);
  const gaps = Math.max(...strides) > 1 && Math.max(...dilations) > 1;
  return (inputs) => {
    const sides: Pair[] = [
      [0, 0],
      [before[0], after[0]],
      [before[1], after[1]],
      [0, 0],
    ];
    const x = tf.pad(tf.transpose(image(inputs, 0), [0, 2, 3, 1]), sides); // channels last, as TensorFlow.js has them
    const own = tf.transpose(image(inputs, 1), [2, 3, 1, 0]) as tf.Tensor4D;
    const w = gaps ? spread(own, dilations) : own;
    const filters = tf.split(w, groups, 3) as tf.Tensor4D[];
    const parts = (tf.split(x, groups, 3) as tf.Tensor4D[]).map((part, g) =>
      tf.conv2d(part, filters[g]!, strides, 'valid', 'NHWC', gaps ? 1 : dilations),
    );
    return finish(inputs, parts as tf.Tensor4D[]);
  };
};

/** y [n, m, ...size], w [m, c / group, ...kernel], bias [c]: what a convolution by w has y as its result of. */
const convTranspose: Operation = (node) => {
  const { strides, dilations, before, after, groups } = settingsOf(node);
  if (node.numbers('output_shape')) throw unsupported('output_shape: use output_padding');
  const rest = two(node.numbers('output_padding'), 0);
  return (inputs) => {
    const y = tf.transpose(image(inputs, 0), [0, 2, 3, 1]) as tf.Tensor4D;
    const w = spread(tf.transpose(image(inputs, 1), [2, 3, 1, 0]) as tf.Tensor4D, dilations);
    const full = ([0, 1] as const).map(
      (axis) => (y.shape[axis + 1]! - 1) * strides[axis] + w.shape[axis]! + rest[axis],
    );
    const filters = tf.split(w, groups, 3) as tf.Tensor4D[];
    const parts = (tf.split(y, groups, 3) as tf.Tensor4D[]).map((part, g) => {
      const shape: [number, number, number, number] = [part.shape[0], full[0]!, full[1]!, w.shape[2]];
      const whole = tf.conv2dTranspose(part, filters[g]!, shape, strides, 'valid');
      const size = ([0, 1] as const).map((axis) => full[axis]! - before[axis] - after[axis]);
      return tf.slice(whole, [0, before[0], before[1], 0], [-1, size[0]!, size[1]!, -1]);
    });
    return finish(inputs, parts as tf.Tensor4D[]);
  };
};

export const convolution: Operations = { Conv: conv, ConvTranspose: convTranspose };
