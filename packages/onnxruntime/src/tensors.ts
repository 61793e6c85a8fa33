import { type DType, PeftError, Problems, type Selection, type Tensor, type TypedArray } from '@peftjs/core';
import type { Ort, OrtTensor, OrtType } from './ort.js';

/** Element types that the runtime's JavaScript tensors have, by ours. */
const names: Partial<Record<DType, OrtType>> = {
  f32: 'float32',
  f64: 'float64',
  f16: 'float16',
  i64: 'int64',
  i32: 'int32',
  i16: 'int16',
  i8: 'int8',
  u64: 'uint64',
  u32: 'uint32',
  u16: 'uint16',
  u8: 'uint8',
  bool: 'bool',
};

const dtypes = new Map(Object.entries(names).map(([dtype, name]) => [name, dtype as DType]));

/** What can be fed and returned. Weights may have other types. */
export const tensorDTypes = [...dtypes.values()];

/** The tensor for the runtime: a view, except of shared memory, which onnxruntime-node refuses. */
export function toOrt(ort: Ort, { dtype, shape, data }: Tensor): OrtTensor {
  const own = data.buffer instanceof ArrayBuffer ? data : data.slice();
  return new ort.Tensor(names[dtype]!, own as Float32Array, shape);
}

export function fromOrt(tensor: OrtTensor): Tensor {
  const dtype = dtypes.get(tensor.type);
  if (!dtype) throw new PeftError('BACKEND_UNSUPPORTED', `ONNX Runtime returned a tensor of type ${tensor.type}.`);
  const data = tensor.data as TypedArray;
  return {
    dtype,
    shape: [...tensor.dims],
    // Newer runtimes give f16 as Float16Array; here it is bit patterns.
    data: dtype === 'f16' ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data,
  };
}

/** A copy that shares nothing with the tensor. */
export const copyOf = ({ dtype, shape, data }: Tensor): Tensor => {
  const copy = new (data.constructor as { new (length: number): TypedArray })(data.length);
  (copy as Float32Array).set(data as Float32Array);
  return { dtype, shape: [...shape], data: copy };
};

/** @throws PeftError BACKEND_UNSUPPORTED naming every input and output that JavaScript tensors of the runtime cannot hold */
export function checkDTypes({ graph }: Selection): void {
  const problems = new Problems();
  for (const { name, dtype } of [...graph.inputs, ...graph.outputs])
    if (!tensorDTypes.includes(dtype)) problems.add(`"${name}" is ${dtype}: cast it in the graph`);
  problems.throwIfAny(
    'BACKEND_UNSUPPORTED',
    `Graph "${graph.name}" has inputs or outputs that ONNX Runtime cannot pass`,
  );
}
