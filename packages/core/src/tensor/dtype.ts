import { PeftError } from '../errors.js';
import type { DType, Tensor, TypedArray } from './tensor.js';

interface ArrayType {
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): TypedArray;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): TypedArray;
}

/** Bits an element takes, and the typed array its stored form lives in. */
const layouts: Readonly<Record<DType, { readonly bits: number; readonly array: ArrayType }>> = {
  f64: { bits: 64, array: Float64Array },
  f32: { bits: 32, array: Float32Array },
  f16: { bits: 16, array: Uint16Array },
  bf16: { bits: 16, array: Uint16Array },
  f8_e4m3: { bits: 8, array: Uint8Array },
  f8_e5m2: { bits: 8, array: Uint8Array },
  f8_e8m0: { bits: 8, array: Uint8Array },
  f8_e4m3fnuz: { bits: 8, array: Uint8Array },
  f8_e5m2fnuz: { bits: 8, array: Uint8Array },
  f6_e2m3: { bits: 6, array: Uint8Array },
  f6_e3m2: { bits: 6, array: Uint8Array },
  f4: { bits: 4, array: Uint8Array },
  i64: { bits: 64, array: BigInt64Array },
  i32: { bits: 32, array: Int32Array },
  i16: { bits: 16, array: Int16Array },
  i8: { bits: 8, array: Int8Array },
  i4: { bits: 4, array: Uint8Array },
  u64: { bits: 64, array: BigUint64Array },
  u32: { bits: 32, array: Uint32Array },
  u16: { bits: 16, array: Uint16Array },
  u8: { bits: 8, array: Uint8Array },
  u4: { bits: 4, array: Uint8Array },
  bool: { bits: 8, array: Uint8Array },
  c64: { bits: 64, array: Float32Array },
};

/** Every element type. */
export const dtypes = Object.keys(layouts) as readonly DType[];

/** Bits one element takes in memory and in a file. */
export const bitsOf = (dtype: DType): number => layouts[dtype].bits;

/** Whether the elements are real floating-point numbers (complex numbers are not). */
export const isFloat = (dtype: DType): boolean => /^b?f/.test(dtype);

/** Number of elements of a shape; 1 for a scalar. @throws PeftError CONFIG_INVALID when it is no exact integer. */
export function elementCount(shape: readonly number[]): number {
  const bad = shape.find((size) => !Number.isSafeInteger(size) || size < 0 || Object.is(size, -0));
  if (bad !== undefined) throw new PeftError('CONFIG_INVALID', `A shape has the size ${bad}: use integers from 0 up.`);
  if (shape.includes(0)) return 0; // before the product: the other sizes may multiply beyond any limit
  const count = shape.reduce((product, size) => product * size, 1);
  if (!Number.isSafeInteger(count))
    throw new PeftError('CONFIG_INVALID', `The shape [${shape}] has more than 2^53 elements.`);
  return count;
}

/** Bytes of a tensor; elements of less than a byte are packed and the last byte is filled up. */
export function byteLength(dtype: DType, shape: readonly number[]): number {
  const count = elementCount(shape);
  const bits = bitsOf(dtype);
  const bytes = bits >= 8 ? count * (bits / 8) : Math.floor(count / 8) * bits + Math.ceil(((count % 8) * bits) / 8);
  if (!Number.isSafeInteger(bytes))
    throw new PeftError('CONFIG_INVALID', `A ${dtype} tensor of shape [${shape}] has more than 2^53 bytes.`);
  return bytes;
}

/** Length of the typed array that holds the tensor: stored units, not elements (packed and complex types differ). */
export const arrayLength = (dtype: DType, shape: readonly number[]): number =>
  byteLength(dtype, shape) / layouts[dtype].array.BYTES_PER_ELEMENT;

/** A tensor of zeros. */
export const alloc = (dtype: DType, shape: readonly number[]): Tensor => ({
  dtype,
  shape,
  data: new layouts[dtype].array(arrayLength(dtype, shape)),
});

/** What is wrong with a tensor's data for its dtype and shape; undefined when nothing is. */
export function tensorProblem({ dtype, shape, data }: Tensor): string | undefined {
  const layout = layouts[dtype];
  if (!layout) return `has the unknown dtype '${dtype}'; known are ${dtypes.join(', ')}`;
  if (!(data instanceof layout.array))
    return `is ${dtype} but its data is a ${data.constructor.name}; use a ${(layout.array as { name?: string }).name}`;
  const expected = arrayLength(dtype, shape);
  return data.length === expected
    ? undefined
    : `is ${dtype} of shape [${shape}], which takes ${expected} stored values, but its data has ${data.length}`;
}

/** @throws PeftError CONFIG_INVALID when the data does not fit dtype and shape. */
export function checkTensor(tensor: Tensor, name = 'The tensor'): Tensor {
  const problem = tensorProblem(tensor);
  if (problem) throw new PeftError('CONFIG_INVALID', `${name} ${problem}.`);
  return tensor;
}

/** The bytes of a tensor as they go into a file: a view, not a copy. */
export const bytesOf = ({ data }: Tensor): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/**
 * Bytes as a tensor: a view of them where their address allows it, a copy otherwise.
 * @throws PeftError CONFIG_INVALID when their number does not fit dtype and shape.
 */
export function fromBytes(dtype: DType, shape: readonly number[], bytes: Uint8Array): Tensor {
  const expected = byteLength(dtype, shape);
  if (bytes.byteLength !== expected) {
    const problem = `A ${dtype} tensor of shape [${shape}] takes ${expected} bytes, but ${bytes.byteLength} were given.`;
    throw new PeftError('CONFIG_INVALID', problem);
  }
  const { array } = layouts[dtype];
  const aligned = bytes.byteOffset % array.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes);
  return { dtype, shape, data: new array(aligned.buffer, aligned.byteOffset, arrayLength(dtype, shape)) };
}
