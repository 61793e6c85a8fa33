import type { Ops, ShapedValue } from '@peftjs/core';
import type { Fill } from '../numbers.js';
import type { Case } from './case.js';

type Unary = (ops: Ops, x: ShapedValue) => ShapedValue;
type Binary = (ops: Ops, a: ShapedValue, b: ShapedValue) => ShapedValue;

const unary = (name: string, f: Unary, fill?: Fill): Case => ({
  name,
  inputs: { x: { shape: ['batch', 4], ...(fill && { fill }) } },
  build: (ops, { x }) => f(ops, x!),
});

/** The second operand lacks the first axis and has a 1: both ways of broadcasting, one on each side. */
const binary = (name: string, f: Binary, fill?: Fill): Case => ({
  name,
  inputs: { a: { shape: ['batch', 1, 4], ...(fill && { fill }) }, b: { shape: [3, 4], ...(fill && { fill }) } },
  build: (ops, { a, b }) => f(ops, a!, b!),
});

const logical = (name: string, f: Binary): Case => ({
  name,
  forwardOnly: true,
  inputs: {
    a: { dtype: 'i64', shape: ['batch', 4], fill: { below: 3 } },
    b: { dtype: 'i64', shape: [4], fill: { below: 3 } },
  },
  build: (ops, { a, b }) => f(ops, a!, b!),
});

const positive: Fill = { from: 0.3, to: 3 };

export const elementwiseCases: readonly Case[] = [
  binary('add', (ops, a, b) => ops.add(a, b)),
  binary('sub', (ops, a, b) => ops.sub(a, b)),
  binary('mul', (ops, a, b) => ops.mul(a, b)),
  binary('div', (ops, a, b) => ops.div(a, b)),
  binary('pow of two values', (ops, a, b) => ops.pow(a, b), positive),
  unary('pow 2', (ops, x) => ops.pow(x, 2)),
  unary('pow 3', (ops, x) => ops.pow(x, 3)),
  unary('pow -0.5', (ops, x) => ops.pow(x, -0.5), positive),
  binary('min', (ops, a, b) => ops.min(a, b)),
  binary('max', (ops, a, b) => ops.max(a, b)),
  unary('neg', (ops, x) => ops.neg(x)),
  unary('exp', (ops, x) => ops.exp(x)),
  unary('log', (ops, x) => ops.log(x), positive),
  unary('sqrt', (ops, x) => ops.sqrt(x), positive),
  unary('reciprocal', (ops, x) => ops.reciprocal(x)),
  unary('abs', (ops, x) => ops.abs(x)),
  unary('erf', (ops, x) => ops.erf(x)),
  unary('tanh', (ops, x) => ops.tanh(x)),
  unary('sigmoid', (ops, x) => ops.sigmoid(x)),
  unary('relu', (ops, x) => ops.relu(x)),
  unary('cos', (ops, x) => ops.cos(x)),
  unary('sin', (ops, x) => ops.sin(x)),
  unary('clip', (ops, x) => ops.clip(x, -1, 0.9)),
  // Piecewise constant factors: the derivative comes from the other one alone.
  unary('floor times x', (ops, x) => ops.mul(ops.floor(x), x)),
  unary('sign times x', (ops, x) => ops.mul(ops.sign(x), x)),
  unary('gelu', (ops, x) => ops.gelu(x)),
  unary('gelu far out', (ops, x) => ops.gelu(x), { values: [-40, -9, -5, -3, 3, 5, 9, 40] }),
  unary('gelu tanh', (ops, x) => ops.geluTanh(x)),
  unary('silu', (ops, x) => ops.silu(x)),
  unary('silu far out', (ops, x) => ops.silu(x), { values: [-60, -20, 20, 60] }),
  {
    name: 'where broadcasts',
    inputs: { a: { shape: ['batch', 1, 4] }, b: { shape: [3, 1] }, test: { shape: [4], frozen: true } },
    build: (ops, { a, b, test }) => ops.where(ops.greater(test!, 0), a!, b!),
  },
  {
    name: 'identity and cast',
    inputs: { x: { shape: ['batch', 4] } },
    build: (ops, { x }) => ops.cast(ops.cast(ops.identity(x!), 'f64'), 'f32'),
  },
  {
    name: 'mask of bytes',
    inputs: { x: { shape: ['batch', 4] }, mask: { dtype: 'u8', shape: ['batch', 4], fill: { below: 2 } } },
    build: (ops, { x, mask }) => ops.mul(x!, ops.mul(ops.cast(mask!, 'f32'), 1.25)),
  },
  {
    name: 'a value used three times',
    inputs: { x: { shape: ['batch', 4] }, w: { shape: [4] } },
    build: (ops, { x, w }) => {
      const shared = ops.mul(x!, w!);
      return ops.add(ops.mul(shared, ops.tanh(shared)), ops.add(shared, x!));
    },
  },
  {
    name: 'a square by one operand twice',
    inputs: { x: { shape: ['batch', 4] } },
    build: (ops, { x }) => [ops.mul(x!, x!), ops.add(x!, x!), ops.sub(x!, x!)],
  },
  logical('equal', (ops, a, b) => ops.equal(a, b)),
  logical('less', (ops, a, b) => ops.less(a, b)),
  logical('less or equal', (ops, a, b) => ops.lessOrEqual(a, b)),
  logical('greater', (ops, a, b) => ops.greater(a, b)),
  logical('greater or equal', (ops, a, b) => ops.greaterOrEqual(a, b)),
  logical('and, or, not', (ops, a, b) => ops.or(ops.and(ops.less(a, b), ops.less(a, 2)), ops.not(ops.equal(b, 0)))),
  logical('integer arithmetic', (ops, a, b) => ops.max(ops.sub(ops.mul(a, b), ops.add(a, 1)), -2)),
];
