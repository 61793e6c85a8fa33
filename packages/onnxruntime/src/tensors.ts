import { type DType, PeftError, Problems, type Selection, type Tensor, type TypedArray } from '@peftjs/core';
import type { Device, RuntimeKind } from './options.js';
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

/** What JavaScript tensors of the runtime can hold. Weights may have other types. */
const tensorDTypes: readonly DType[] = [...dtypes.values()];

/** What a graph may not have anywhere: onnxruntime-web on WebGPU leaves casts to and from doubles without a kernel. */
const absentDTypes = (runtime: RuntimeKind, device: Device): readonly DType[] =>
  runtime === 'web' && device === 'webgpu' ? ['f64'] : [];

/** What can be fed and returned. */
export function dtypesOf(runtime: RuntimeKind, device: Device): DType[] {
  const absent = absentDTypes(runtime, device);
  return tensorDTypes.filter((dtype) => !absent.includes(dtype));
}

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

/** @throws PeftError BACKEND_UNSUPPORTED naming every input, output and inner value of a type that cannot be there */
export function checkDTypes({ graph }: Selection, runtime: RuntimeKind, device: Device): void {
  const problems = new Problems();
  for (const { name, dtype } of [...graph.inputs, ...graph.outputs])
    if (!tensorDTypes.includes(dtype)) problems.add(`"${name}" is ${dtype}: cast it in the graph`);
  const absent = absentDTypes(runtime, device);
  for (const { name, dtype } of graph.values.values())
    if (absent.includes(dtype)) problems.add(`"${name}" is ${dtype}, which ${device} has not: use f32`);
  problems.throwIfAny('BACKEND_UNSUPPORTED', `Graph "${graph.name}" has values that ONNX Runtime cannot pass`);
}
