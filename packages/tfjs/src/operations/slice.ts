import * as tf from '@tensorflow/tfjs-core';
import { axisOf, type Kernel } from './operation.js';

/** Where a slice starts, how far it goes and in which steps, for one axis of extent `size`. */
function bounds(size: number, from: number, to: number, by: number): { first: number; count: number } {
  const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + size : v, low), high);
  const [low, high] = by > 0 ? [0, size] : [-1, size - 1];
  const first = by > 0 ? clamp(from, 0, size) : clamp(from, 0, size - 1);
  return { first, count: Math.max(0, Math.ceil((clamp(to, low, high) - first) / by)) };
}

/** Slice: a block of each axis; steps other than 1 pick from it. */
export const slice: Kernel = (inputs) => {
  const shape = inputs.shape(0);
  const [starts, ends] = [inputs.numbers(1), inputs.numbers(2)];
  const axes = inputs.has(3) ? inputs.numbers(3).map((axis) => axisOf(axis, shape.length)) : [...starts.keys()];
  const steps = inputs.has(4) ? inputs.numbers(4) : starts.map(() => 1);
  const begin = shape.map(() => 0);
  const size = [...shape];
  const picks: { axis: number; at: number[] }[] = [];
  axes.forEach((axis, i) => {
    const by = steps[i]!;
    const { first, count } = bounds(shape[axis]!, starts[i]!, ends[i]!, by);
    if (by !== 1) picks.push({ axis, at: Array.from({ length: count }, (_, n) => first + n * by) });
    else [begin[axis], size[axis]] = [first, count];
  });
  const block = tf.slice(inputs.tensor(0), begin, size);
  return picks.reduce((x, { axis, at }) => tf.gather(x, tf.tensor1d(at, 'int32'), axis), block);
};
