import { type DType, PeftError, type Tensor, type TypedArray } from '@peftjs/core';
import * as tf from '@tensorflow/tfjs-core';

/** Integers in JavaScript: shapes, axes, positions. i64 up to 2^53 is exact here, while TensorFlow.js has 32 bits. */
export interface Integers {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** A value of a running graph: on the device, in JavaScript, or both. Brought to the other side when first needed. */
export interface Held {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  tensor?: tf.Tensor;
  /** i64 as numbers, other types as they are. */
  data?: TypedArray;
}

/** How each element type is held on the device; what is not here is refused. */
const deviceTypes: Partial<Record<DType, 'float32' | 'int32' | 'bool'>> = {
  f32: 'float32',
  i64: 'int32',
  i32: 'int32',
  u8: 'int32',
  bool: 'bool',
};

/** Element types of the values that graphs may have. */
export const dtypes = Object.keys(deviceTypes) as readonly DType[];

/**
 * Numbers that nobody else changes: constants and weights. Integers beyond 2^53 become the nearest that are not:
 * exporters write "to the end of the axis" with them.
 */
export function fromConstant(name: string, { dtype, shape, data }: Tensor): Held {
  const near = (v: bigint) => Number(v < -largest ? -largest : v > largest ? largest : v);
  return { name, dtype, shape, data: dtype === 'i64' ? Float64Array.from(data as BigInt64Array, near) : data };
}

const largest = BigInt(Number.MAX_SAFE_INTEGER);

/** A copy of a caller's numbers. @throws PeftError BACKEND_UNSUPPORTED for an i64 beyond 2^53 */
export function fromTensor(name: string, { dtype, shape, data }: Tensor): Held {
  const copy = dtype === 'i64' ? wholeNumbers(name, data as BigInt64Array) : data.slice();
  return { name, dtype, shape: [...shape], data: copy };
}

export const fromIntegers = (name: string, dtype: DType, { shape, data }: Integers): Held => ({
  name,
  dtype,
  shape,
  data,
});

/** @param tensor belongs to what is held from now on */
export function fromDevice(name: string, dtype: DType, tensor: tf.Tensor): Held {
  const type = deviceTypes[dtype]!;
  if (tensor.dtype === type) return { name, dtype, shape: tensor.shape, tensor: tf.keep(tensor) };
  const right = tf.keep(tf.cast(tensor, type));
  tensor.dispose();
  return { name, dtype, shape: right.shape, tensor: right };
}

/** Another hold on the same numbers, to be let go of by itself. */
export const share = (held: Held, name: string): Held => ({
  ...held,
  name,
  ...(held.tensor && { tensor: tf.keep(tf.clone(held.tensor)) }),
});

export function release(held: Held | undefined): void {
  held?.tensor?.dispose();
  if (held) delete held.tensor;
}

/** The numbers on the device. @throws PeftError BACKEND_UNSUPPORTED for integers beyond 32 bits, by name */
export function onDevice(held: Held): tf.Tensor {
  if (held.tensor) return held.tensor;
  const type = deviceTypes[held.dtype]!;
  const data = type === 'int32' ? integers32(held) : held.data;
  held.tensor = tf.keep(tf.tensor(data as Float32Array, [...held.shape], type));
  return held.tensor;
}

/**
 * Small numbers that shape the computation. Waits for the device where it computed them.
 * @throws PeftError BACKEND_UNSUPPORTED where the device cannot be waited for (WebGPU outside a page)
 */
export function inJavaScript(held: Held): number[] {
  held.data ??= fromDeviceNow(held);
  return Array.from(held.data as Float64Array);
}

function fromDeviceNow({ name, tensor }: Held): TypedArray {
  try {
    return tensor!.dataSync() as TypedArray;
  } catch (cause) {
    const problem = `"${name}" decides on a shape and is computed on the device, which cannot be waited for here`;
    throw new PeftError('BACKEND_UNSUPPORTED', `${problem} (${(cause as Error).message}).`, { cause });
  }
}

/** A tensor that shares nothing with what is held. */
export async function toTensor(held: Held): Promise<Tensor> {
  const { dtype, shape } = held;
  const data = (held.data ?? (await held.tensor!.data())) as Float64Array;
  const result = { dtype, shape: [...shape] };
  if (dtype === 'i64') return { ...result, data: BigInt64Array.from(data, BigInt) };
  return { ...result, data: dtype === 'u8' || dtype === 'bool' ? Uint8Array.from(data) : data.slice() };
}

function wholeNumbers(name: string, data: BigInt64Array): Float64Array {
  const numbers = Float64Array.from(data, Number);
  const at = numbers.findIndex((v) => !Number.isSafeInteger(v));
  if (at >= 0) throw tooLarge(name, data[at]!, 53);
  return numbers;
}

function integers32({ name, data }: Held): Int32Array {
  const result = Int32Array.from(data as Float64Array);
  const at = result.findIndex((v, i) => v !== data![i]);
  if (at >= 0) throw tooLarge(name, data![at]!, 32);
  return result;
}

const tooLarge = (name: string, value: number | bigint, bits: number) =>
  new PeftError(
    'BACKEND_UNSUPPORTED',
    `"${name}" has the integer ${value}, beyond ${bits} bits: TensorFlow.js cannot compute with it.`,
    {
      details: { value: String(value), tensor: name },
    },
  );
