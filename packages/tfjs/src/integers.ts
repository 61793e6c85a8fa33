import { type Attributes, broadcast, onnxDType } from '@peftjs/core';
import type { Held, Integers } from './held.js';

/** An operation on integers that are known in JavaScript; undefined where it has to be done on the device. */
type IntegerOperation = (inputs: readonly (Integers | undefined)[], node: Attributes) => Integers | undefined;

const vector = (values: Iterable<number>): Integers => {
  const data = Float64Array.from(values);
  return { shape: [data.length], data };
};

/** Elementwise where the operands have one shape, or one of them is a single number. */
const pairwise =
  (f: (a: number, b: number) => number): IntegerOperation =>
  ([a, b]) => {
    if (!a || !b) return undefined;
    const same = a.shape.join() === b.shape.join();
    if (!same && a.data.length !== 1 && b.data.length !== 1) return undefined;
    const shape = broadcast(a.shape, b.shape, 'integers') as number[];
    const many = a.data.length >= b.data.length ? a.data : b.data;
    const at = (x: Integers, i: number) => x.data[x.data.length === 1 ? 0 : i]!;
    return { shape, data: many.map((_, i) => f(at(a, i), at(b, i))) };
  };

const reshaped =
  (shapeOf: (shape: readonly number[], axes: readonly number[]) => number[]): IntegerOperation =>
  ([x, axes], node) =>
    x && { shape: shapeOf(x.shape, [...(axes?.data ?? node.numbers('axes') ?? [])]), data: x.data };

const wrapped = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

const isVector = (x: Integers | undefined): x is Integers => x?.shape.length === 1;

/** What graphs compute extents, axes and positions with. Everything else happens on the device. */
export const integerOperations: Readonly<Record<string, IntegerOperation>> = {
  Identity: ([x]) => x,
  Cast: ([x], node) => (onnxDType(node.number('to', 1)) === 'i64' ? x : undefined),
  Add: pairwise((a, b) => a + b),
  Sub: pairwise((a, b) => a - b),
  Mul: pairwise((a, b) => a * b),
  Div: pairwise((a, b) => Math.trunc(a / b)),
  Min: pairwise(Math.min),
  Max: pairwise(Math.max),
  Concat: (parts) => (parts.every(isVector) ? vector(parts.flatMap(({ data }) => [...data])) : undefined),
  Gather: ([x, at], node) => {
    if (!isVector(x) || !at || node.number('axis', 0) > 0) return undefined;
    const picked = at.data.map((i) => x.data[wrapped(i, x.data.length)] ?? Number.NaN);
    return picked.includes(Number.NaN) ? undefined : { shape: at.shape, data: picked };
  },
  Slice: ([x, from, to, , step]) =>
    isVector(x) && from && to && (step?.data[0] ?? 1) === 1
      ? vector(x.data.slice(from.data[0], to.data[0]))
      : undefined,
  Unsqueeze: reshaped((shape, axes) => {
    const rank = shape.length + axes.length;
    const added = new Set(axes.map((axis) => wrapped(axis, rank)));
    const left = [...shape];
    return Array.from({ length: rank }, (_, i) => (added.has(i) ? 1 : left.shift()!));
  }),
  Squeeze: reshaped((shape, axes) => {
    const gone = axes.map((axis) => wrapped(axis, shape.length));
    return shape.filter((size, i) => (axes.length > 0 ? !gone.includes(i) : size !== 1));
  }),
  ReduceProd: ([x], node) =>
    isVector(x) && node.number('keepdims', 1) === 0
      ? { shape: [], data: Float64Array.of(x.data.reduce((a, b) => a * b, 1)) }
      : undefined,
};

/** Operations that ask for the shape of a value, wherever its numbers are. */
export const shapeOperations: Readonly<Record<string, (x: Held, node: Attributes) => Integers>> = {
  Shape: ({ shape }, node) => vector(shape.slice(node.number('start', 0), node.number('end', shape.length))),
  Size: ({ shape }) => ({ shape: [], data: Float64Array.of(shape.reduce((a, b) => a * b, 1)) }),
};
