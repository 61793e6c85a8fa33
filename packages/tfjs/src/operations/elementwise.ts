import { isFloat, onnxDType } from '@peftjs/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Operation, type Operations, unsupported } from './operation.js';
import { cos, sin } from './sine.js';

type T = tf.Tensor;

const unary =
  (f: (x: T) => T): Operation =>
  () =>
  (inputs) =>
    f(inputs.tensor(0));

const binary =
  (f: (a: T, b: T) => T): Operation =>
  () =>
  (inputs) =>
    f(inputs.tensor(0), inputs.tensor(1));

/** Any number of operands, folded from the left. */
const variadic =
  (f: (a: T, b: T) => T, finish: (x: T, count: number) => T = (x) => x): Operation =>
  () =>
  (inputs) => {
    let result: T = tf.clone(inputs.tensor(0));
    for (let i = 1; i < inputs.count; i++) result = f(result, inputs.tensor(i));
    return finish(result, inputs.count);
  };

/** Towards zero for integers, as ONNX divides; TensorFlow.js rounds down. */
const divide: Operation = (node) => (inputs) => {
  const [a, b] = [inputs.tensor(0), inputs.tensor(1)];
  if (isFloat(node.dtype)) return tf.div(a, b);
  return tf.mul(tf.floorDiv(tf.abs(a), tf.abs(b)), tf.mul(tf.sign(a), tf.sign(b)));
};

/** The remainder has the sign of the divisor, or of the dividend with `fmod`. */
const modulo: Operation = (node) => {
  if (!node.number('fmod', 0)) return (inputs) => tf.mod(inputs.tensor(0), inputs.tensor(1));
  return (inputs) => tf.mul(tf.sign(inputs.tensor(0)), tf.mod(tf.abs(inputs.tensor(0)), tf.abs(inputs.tensor(1))));
};

const gelu: Operation = (node) => {
  if (node.string('approximate', 'none') === 'none')
    return (inputs) => {
      const x = inputs.tensor(0);
      return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
    };
  return (inputs) => {
    const x = inputs.tensor(0);
    const inner = tf.mul(tf.mul(x, tf.add(tf.mul(tf.square(x), 0.044715), 1)), Math.sqrt(2 / Math.PI));
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
  };
};

const types = { f32: 'float32', i32: 'int32', i64: 'int32' } as const;

const cast: Operation = (node) => {
  const to = onnxDType(node.number('to', 1));
  if (to === 'u8') return (inputs) => tf.mod(tf.cast(inputs.tensor(0), 'int32'), tf.scalar(256, 'int32'));
  if (to === 'bool') return (inputs) => tf.notEqual(inputs.tensor(0), 0);
  const type = types[to as keyof typeof types];
  if (!type) throw unsupported(`a cast to ${to ?? `ONNX type ${node.number('to', 1)}`}`);
  if (node.device.lazyCasts && type === 'float32') return (inputs) => tf.mul(tf.cast(inputs.tensor(0), type), 1);
  return (inputs) => tf.cast(inputs.tensor(0), type);
};

/** Operations on each element, with broadcasting. */
export const elementwise: Operations = {
  Add: binary(tf.add),
  Sub: binary(tf.sub),
  Mul: binary(tf.mul),
  Div: divide,
  Pow: binary(tf.pow),
  Mod: modulo,
  PRelu: binary((x, slope) => tf.where(tf.less(x, 0), tf.mul(x, slope), x)),
  Min: variadic(tf.minimum),
  Max: variadic(tf.maximum),
  Sum: variadic(tf.add),
  Mean: variadic(tf.add, (x, count) => tf.div(x, count)),
  Neg: unary(tf.neg),
  Exp: unary(tf.exp),
  Log: unary(tf.log),
  Sqrt: unary(tf.sqrt),
  Reciprocal: unary(tf.reciprocal),
  Abs: unary(tf.abs),
  Sign: unary(tf.sign),
  Erf: unary(tf.erf),
  Tanh: unary(tf.tanh),
  Sigmoid: unary(tf.sigmoid),
  Softplus: unary(tf.softplus),
  Relu: unary(tf.relu),
  LeakyRelu: (node) => {
    const alpha = node.number('alpha', 0.01);
    return (inputs) => tf.leakyRelu(inputs.tensor(0), alpha);
  },
  Gelu: gelu,
  Sin:
    ({ device }) =>
    (inputs) =>
      (device.roughSine ? sin : tf.sin)(inputs.tensor(0)),
  Cos:
    ({ device }) =>
    (inputs) =>
      (device.roughSine ? cos : tf.cos)(inputs.tensor(0)),
  Floor: unary(tf.floor),
  Ceil: unary(tf.ceil),
  Round: unary(tf.round),
  Not: unary(tf.logicalNot),
  IsNaN: unary(tf.isNaN),
  Equal: binary(tf.equal),
  Less: binary(tf.less),
  LessOrEqual: binary(tf.lessEqual),
  Greater: binary(tf.greater),
  GreaterOrEqual: binary(tf.greaterEqual),
  And: binary(tf.logicalAnd),
  Or: binary(tf.logicalOr),
  Xor: binary(tf.notEqual),
  Where: () => (inputs) => tf.where(inputs.tensor(0), inputs.tensor(1), inputs.tensor(2)),
  Clip: () => (inputs) => {
    const above = inputs.has(1) ? tf.maximum(inputs.tensor(0), inputs.tensor(1)) : inputs.tensor(0);
    return inputs.has(2) ? tf.minimum(above, inputs.tensor(2)) : tf.clone(above);
  },
  Identity: unary(tf.clone),
  Cast: cast,
};
