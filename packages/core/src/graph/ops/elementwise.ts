import { PeftError } from '../../errors.js';
import type { DType } from '../../tensor/tensor.js';
import { broadcast } from '../dim.js';
import type { ShapedValue } from '../graph.js';
import { type Builder, int } from './builder.js';

/** ONNX's numbers of element types, for Cast. */
export const onnxType: Partial<Record<DType, number>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  bf16: 16,
};

/** Operations on each element, with broadcasting. A plain number stands for a scalar of the other operand's type. */
export function elementwise(b: Builder) {
  const value = (x: ShapedValue | number, like: ShapedValue): ShapedValue =>
    typeof x === 'number' ? b.scalar(x, like.dtype) : x;

  const binary =
    (op: string, dtype?: DType) =>
    (x: ShapedValue, y: ShapedValue | number): ShapedValue => {
      const other = value(y, x);
      if (x.dtype !== other.dtype)
        throw new PeftError('GRAPH_INVALID', `${op}: "${x.name}" is ${x.dtype}, "${other.name}" is ${other.dtype}.`);
      return b.emit(op, [x, other], dtype ?? x.dtype, broadcast(x.shape, other.shape, op));
    };
  const unary =
    (op: string) =>
    (x: ShapedValue): ShapedValue =>
      b.emit(op, [x], x.dtype, x.shape);

  return {
    add: binary('Add'),
    sub: binary('Sub'),
    mul: binary('Mul'),
    div: binary('Div'),
    pow: binary('Pow'),
    min: binary('Min'),
    max: binary('Max'),
    equal: binary('Equal', 'bool'),
    less: binary('Less', 'bool'),
    lessOrEqual: binary('LessOrEqual', 'bool'),
    greater: binary('Greater', 'bool'),
    greaterOrEqual: binary('GreaterOrEqual', 'bool'),
    and: binary('And'),
    or: binary('Or'),
    not: unary('Not'),
    neg: unary('Neg'),
    exp: unary('Exp'),
    log: unary('Log'),
    sqrt: unary('Sqrt'),
    reciprocal: unary('Reciprocal'),
    abs: unary('Abs'),
    sign: unary('Sign'),
    erf: unary('Erf'),
    tanh: unary('Tanh'),
    sigmoid: unary('Sigmoid'),
    relu: unary('Relu'),
    cos: unary('Cos'),
    sin: unary('Sin'),
    floor: unary('Floor'),
    identity: unary('Identity'),
    where(condition: ShapedValue, x: ShapedValue | number, y: ShapedValue | number): ShapedValue {
      const like = typeof x === 'number' ? (typeof y === 'number' ? b.scalar(0) : y) : x;
      const [p, q] = [value(x, like), value(y, like)];
      const shape = broadcast(condition.shape, broadcast(p.shape, q.shape, 'Where'), 'Where');
      return b.emit('Where', [condition, p, q], p.dtype, shape);
    },
    clip(x: ShapedValue, low: number, high: number): ShapedValue {
      return b.emit('Clip', [x, b.scalar(low, x.dtype), b.scalar(high, x.dtype)], x.dtype, x.shape);
    },
    cast(x: ShapedValue, dtype: DType): ShapedValue {
      if (x.dtype === dtype) return x;
      const to = onnxType[dtype];
      if (to === undefined) throw new PeftError('GRAPH_INVALID', `Cast: graphs have no element type ${dtype}.`);
      return b.emit('Cast', [x], dtype, x.shape, { to: int(to) });
    },
  };
}
