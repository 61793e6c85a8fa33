import { broadcast } from '@peftjs/core';
import * as tf from '@tensorflow/tfjs-core';
import { axisOf, integers, type Operation, type Operations, product, unsupported } from './operation.js';
import { slice } from './slice.js';

/** The same numbers in another shape. */
const reshaping =
  (shapeOf: (shape: readonly number[], axes: number[] | undefined) => number[]): Operation =>
  (node) =>
  (inputs) =>
    tf.reshape(inputs.tensor(0), shapeOf(inputs.shape(0), integers(inputs, 1, node, 'axes')));

const pad: Operation = (node) => {
  const mode = node.string('mode', 'constant');
  if (mode !== 'constant') throw unsupported(`mode ${mode}: use constant`);
  return (inputs) => {
    const { length } = inputs.shape(0);
    const axes = inputs.has(3) ? inputs.numbers(3).map((axis) => axisOf(axis, length)) : [...inputs.shape(0).keys()];
    const pads = inputs.numbers(1);
    const sides = inputs.shape(0).map((_, axis): [number, number] => {
      const at = axes.indexOf(axis);
      return at < 0 ? [0, 0] : [pads[at]!, pads[at + axes.length]!];
    });
    return tf.pad(inputs.tensor(0), sides, inputs.has(2) ? inputs.numbers(2)[0]! : 0);
  };
};

/** Operations that move elements, and those that make values of a shape. */
export const shapes: Operations = {
  Reshape: (node) => {
    const zeroIsZero = node.number('allowzero', 0) === 1;
    return (inputs) => {
      const own = inputs.shape(0);
      const wanted = inputs.numbers(1).map((size, axis) => (size === 0 && !zeroIsZero ? (own[axis] ?? 0) : size));
      const known = product(wanted.filter((size) => size !== -1));
      return tf.reshape(
        inputs.tensor(0),
        wanted.map((size) => (size === -1 ? product(own) / Math.max(1, known) : size)),
      );
    };
  },
  Flatten: (node) => (inputs) => {
    const shape = inputs.shape(0);
    const axis = axisOf(node.number('axis', 1), shape.length);
    return tf.reshape(inputs.tensor(0), [product(shape.slice(0, axis)), product(shape.slice(axis))]);
  },
  Unsqueeze: reshaping((shape, axes = []) => {
    const rank = shape.length + axes.length;
    const added = new Set(axes.map((axis) => axisOf(axis, rank)));
    const left = [...shape];
    return Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : left.shift()!));
  }),
  Squeeze: reshaping((shape, axes) => {
    const gone = axes?.map((axis) => axisOf(axis, shape.length));
    return shape.filter((size, i) => (gone ? !gone.includes(i) : size !== 1));
  }),
  Expand: () => (inputs) => {
    const shape = broadcast(inputs.shape(0), inputs.numbers(1), 'Expand') as number[];
    const leading = Array<number>(shape.length - inputs.shape(0).length).fill(1);
    const own = [...leading, ...inputs.shape(0)];
    return tf.tile(
      tf.reshape(inputs.tensor(0), own),
      shape.map((size, axis) => (own[axis] === size ? 1 : size)),
    );
  },
  Tile: () => (inputs) => tf.tile(inputs.tensor(0), inputs.numbers(1)),
  Concat: (node) => (inputs) => {
    const parts = Array.from({ length: inputs.count }, (_, i) => inputs.tensor(i));
    return tf.concat(parts, axisOf(node.number('axis', 0), parts[0]!.rank));
  },
  Slice: () => slice,
  Split: (node) => (inputs) => {
    const axis = axisOf(node.number('axis', 0), inputs.shape(0).length);
    const total = inputs.shape(0)[axis]!;
    const even = Math.ceil(total / node.number('num_outputs', node.outputs));
    const equal = Array.from({ length: node.outputs }, (_, i) => Math.max(0, Math.min(even, total - i * even)));
    return tf.split(inputs.tensor(0), integers(inputs, 1, node, 'split') ?? equal, axis);
  },
  Pad: pad,
  Range: (node) => (inputs) => {
    const [from, to, by] = [0, 1, 2].map((i) => inputs.numbers(i)[0]!) as [number, number, number];
    const size = Math.max(0, Math.ceil((to - from) / by));
    const values = Array.from({ length: size }, (_, i) => from + i * by);
    return tf.tensor1d(values, node.dtype === 'f32' ? 'float32' : 'int32');
  },
  ConstantOfShape: (node) => {
    const value = node.tensor('value');
    const number = value ? Number(value.data[0]) : 0;
    const type = node.dtype === 'f32' ? 'float32' : 'int32';
    return (inputs) => tf.cast(tf.fill(inputs.numbers(0), number, type), node.dtype === 'bool' ? 'bool' : type);
  },
};
