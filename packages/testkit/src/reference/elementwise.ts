import { type DType, isFloat } from '@peftjs/core';
import { broadcastIndex, broadcastShape, nd } from './array.js';
import { erf } from './erf.js';
import { need, type Operation, type Operations } from './operation.js';

const unary =
  (f: (x: number) => number, dtype?: DType): Operation =>
  (inputs) => {
    const x = need(inputs, 0);
    return nd(dtype ?? x.dtype, x.shape, x.data.map(f));
  };

/** A binary operation with numpy broadcasting; integer operands give what C gives. */
const binary =
  (f: (a: number, b: number) => number, dtype?: DType): Operation =>
  (inputs) => {
    const [a, b] = [need(inputs, 0), need(inputs, 1)];
    const shape = broadcastShape(a.shape, b.shape);
    const [ia, ib] = [broadcastIndex(a.shape, shape), broadcastIndex(b.shape, shape)];
    const integer = !isFloat(a.dtype);
    const out = nd(dtype ?? a.dtype, shape);
    for (let i = 0; i < ia.length; i++) {
      const value = f(a.data[ia[i]!]!, b.data[ib[i]!]!);
      out.data[i] = integer ? Math.trunc(value) : value;
    }
    return out;
  };

/** Min, Max, Sum, Mean: any number of operands, folded from the left. */
const variadic = (
  f: (a: number, b: number) => number,
  finish: (v: number, n: number) => number = (v) => v,
): Operation => {
  const pair = binary(f);
  return (inputs, attributes) => {
    const folded = inputs.reduce((a, b) => (a && b ? (pair([a, b], attributes, 1) as typeof a) : undefined));
    const result = need([folded], 0);
    return nd(
      result.dtype,
      result.shape,
      result.data.map((v) => finish(v, inputs.length)),
    );
  };
};

const truth = (f: (a: boolean, b: boolean) => boolean) => binary((a, b) => Number(f(a !== 0, b !== 0)), 'bool');
const compare = (f: (a: number, b: number) => boolean) => binary((a, b) => Number(f(a, b)), 'bool');

/** Half to even, as ONNX rounds. */
const round = (x: number) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
const sigmoid = (x: number) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

export const elementwise: Operations = {
  Add: binary((a, b) => a + b),
  Sub: binary((a, b) => a - b),
  Mul: binary((a, b) => a * b),
  Div: binary((a, b) => a / b),
  Pow: binary((a, b) => a ** b),
  Mod: (inputs, attributes, outputs) =>
    binary(attributes.number('fmod', 0) ? (a, b) => a % b : (a, b) => ((a % b) + b) % b)(inputs, attributes, outputs),
  PRelu: binary((a, slope) => (a < 0 ? a * slope : a)),
  Min: variadic((a, b) => (Number.isNaN(a) ? a : Math.min(a, b))),
  Max: variadic((a, b) => (Number.isNaN(a) ? a : Math.max(a, b))),
  Sum: variadic((a, b) => a + b),
  Mean: variadic(
    (a, b) => a + b,
    (v, n) => v / n,
  ),
  Neg: unary((x) => -x),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary((x) => 1 / x),
  Abs: unary(Math.abs),
  Sign: unary(Math.sign),
  Erf: unary(erf),
  Tanh: unary(Math.tanh),
  Sigmoid: unary(sigmoid),
  Softplus: unary(softplus),
  Relu: unary((x) => (x < 0 ? 0 : x)),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Floor: unary(Math.floor),
  Ceil: unary(Math.ceil),
  Round: unary(round),
  Not: unary((x) => (x === 0 ? 1 : 0), 'bool'),
  IsNaN: unary((x) => Number(Number.isNaN(x)), 'bool'),
  LeakyRelu: (inputs, attributes, outputs) => {
    const alpha = attributes.number('alpha', 0.01);
    return unary((x) => (x < 0 ? alpha * x : x))(inputs, attributes, outputs);
  },
  Gelu: (inputs, attributes, outputs) => {
    const exact = (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2));
    const tanh = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    return unary(attributes.string('approximate', 'none') === 'tanh' ? tanh : exact)(inputs, attributes, outputs);
  },
  Equal: compare((a, b) => a === b),
  Less: compare((a, b) => a < b),
  LessOrEqual: compare((a, b) => a <= b),
  Greater: compare((a, b) => a > b),
  GreaterOrEqual: compare((a, b) => a >= b),
  And: truth((a, b) => a && b),
  Or: truth((a, b) => a || b),
  Xor: truth((a, b) => a !== b),
  Where: (inputs) => {
    const [test, a, b] = [need(inputs, 0), need(inputs, 1), need(inputs, 2)];
    const shape = broadcastShape(test.shape, a.shape, b.shape);
    const [it, ia, ib] = [test, a, b].map((x) => broadcastIndex(x.shape, shape)) as [
      Int32Array,
      Int32Array,
      Int32Array,
    ];
    return nd(
      a.dtype,
      shape,
      Float64Array.from(it, (t, i) => (test.data[t] ? a.data[ia[i]!]! : b.data[ib[i]!]!)),
    );
  },
  Clip: (inputs) => {
    const x = need(inputs, 0);
    const low = inputs[1]?.data[0] ?? Number.NEGATIVE_INFINITY;
    const high = inputs[2]?.data[0] ?? Number.POSITIVE_INFINITY;
    return nd(
      x.dtype,
      x.shape,
      x.data.map((v) => Math.min(Math.max(v, low), high)),
    );
  },
};
