import { PeftError } from '../errors.js';
import { alloc, elementCount, isFloat } from './dtype.js';
import { bf16ToF32, f16ToF32, f32ToBf16, f32ToF16 } from './half.js';
import { packInt4, unpackI4, unpackU4 } from './int4.js';
import { smallFloatValues } from './small-float.js';
import type { DType, Tensor } from './tensor.js';

/** The elements as numbers, one each. 64-bit integers are bigint. */
function elements({ dtype, shape, data }: Tensor): ArrayLike<number> | ArrayLike<bigint> {
  const count = elementCount(shape);
  switch (dtype) {
    case 'f16':
      return f16ToF32(data as Uint16Array);
    case 'bf16':
      return bf16ToF32(data as Uint16Array);
    case 'i4':
      return unpackI4(data as Uint8Array, count);
    case 'u4':
      return unpackU4(data as Uint8Array, count);
    case 'c64':
    case 'f6_e2m3':
    case 'f6_e3m2': {
      const reason = dtype === 'c64' ? 'is complex' : 'has no agreed packing';
      throw new PeftError('MODEL_UNSUPPORTED', `A tensor of dtype ${dtype} ${reason}: it can be copied, not computed.`);
    }
    default: {
      const values = smallFloatValues(dtype);
      if (!values) return data as ArrayLike<number> | ArrayLike<bigint>;
      const patterns = dtype === 'f4' ? unpackU4(data as Uint8Array, count) : (data as Uint8Array);
      const decoded = new Float32Array(count);
      for (let i = 0; i < count; i++) decoded[i] = values[patterns[i]!]!;
      return decoded;
    }
  }
}

/**
 * The tensor in float32: itself when it is float32 already, else a new one. Exact for every float of 16 bits and less
 * and for integers up to 2^24; others round to nearest.
 * @throws PeftError MODEL_UNSUPPORTED for complex and 6-bit types.
 */
export function toF32(tensor: Tensor): Tensor & { readonly data: Float32Array } {
  if (tensor.dtype === 'f32') return tensor as Tensor & { data: Float32Array };
  const values = elements(tensor);
  if (values instanceof Float32Array) return { dtype: 'f32', shape: tensor.shape, data: values };
  const data = new Float32Array(values.length);
  for (let i = 0; i < data.length; i++) data[i] = Number(values[i]);
  return { dtype: 'f32', shape: tensor.shape, data };
}

/** The numbers of a tensor, as `toF32` gives them. */
export const floats = (tensor: Tensor): Float32Array => toF32(tensor).data;

/** A tensor in float32 times a number; itself for 1. */
export function scaled(tensor: Tensor, s: number): Tensor & { readonly data: Float32Array } {
  const own = toF32(tensor);
  return s === 1 ? own : { ...own, data: own.data.map((x) => s * x) };
}

const range = (dtype: DType): readonly [bigint, bigint] => {
  const bits = BigInt(dtype.slice(1));
  return dtype.startsWith('i') ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
};

function toInteger(tensor: Tensor, dtype: DType): Tensor {
  const values = elements(tensor);
  const [low, high] = range(dtype);
  const out = dtype === 'i4' || dtype === 'u4' ? undefined : alloc(dtype, tensor.shape);
  const small: number[] = [];
  const wide = dtype === 'i64' || dtype === 'u64';
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const whole = typeof value === 'bigint' ? value : Math.trunc(value);
    if (!(whole >= low && whole <= high)) {
      const problem = `Element ${i} of a ${tensor.dtype} tensor is ${value}, outside the range of ${dtype} (${low} to ${high}).`;
      throw new PeftError('CONFIG_INVALID', problem, { details: { index: i, value: String(value) } });
    }
    if (!out) small.push(Number(whole));
    else if (wide) (out.data as BigInt64Array)[i] = BigInt(whole);
    else (out.data as Int32Array)[i] = Number(whole);
  }
  return out ?? { dtype, shape: tensor.shape, data: packInt4(small) };
}

/**
 * The tensor in another dtype: itself when it has it already. Floats round to nearest, ties to even (f64 to a half type
 * by way of f32); a float becomes an integer by dropping its fraction; bool is value != 0.
 * @throws PeftError CONFIG_INVALID for a value outside the integer type, MODEL_UNSUPPORTED for types that are only copied.
 */
export function cast(tensor: Tensor, dtype: DType): Tensor {
  if (tensor.dtype === dtype) return tensor;
  const { shape } = tensor;
  switch (dtype) {
    case 'f32':
      return toF32(tensor);
    case 'f16':
      return { dtype, shape, data: f32ToF16(toF32(tensor).data) };
    case 'bf16':
      return { dtype, shape, data: f32ToBf16(toF32(tensor).data) };
    case 'f64':
      return { dtype, shape, data: Float64Array.from(elements(tensor) as ArrayLike<number>, Number) };
    case 'bool':
      return { dtype, shape, data: Uint8Array.from(elements(tensor) as ArrayLike<number>, (v) => (Number(v) ? 1 : 0)) };
    default:
      if (isFloat(dtype) || dtype === 'c64')
        throw new PeftError('MODEL_UNSUPPORTED', `A tensor cannot be written as ${dtype}; use f32, f16 or bf16.`);
      return toInteger(tensor, dtype);
  }
}
