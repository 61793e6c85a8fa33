import { create } from '@bufbuild/protobuf';
import { PeftError } from '../../errors.js';
import { bitsOf, byteLength, bytesOf, fromBytes } from '../../tensor/dtype.js';
import type { DType, Tensor, TypedArray } from '../../tensor/tensor.js';
import { type TensorProto, TensorProtoSchema } from './onnx_pb.gen.js';
import { onnxCode, onnxDType } from './types.js';

/** @throws PeftError GRAPH_INVALID for a dtype that ONNX does not have */
export function requireCode(name: string, dtype: DType): number {
  const code = onnxCode(dtype);
  if (code === undefined) throw new PeftError('GRAPH_INVALID', `"${name}" is ${dtype}, which ONNX has no type for.`);
  return code;
}

export const encodeTensor = (name: string, tensor: Tensor): TensorProto =>
  create(TensorProtoSchema, {
    name,
    dataType: requireCode(name, tensor.dtype),
    dims: tensor.shape.map(BigInt),
    rawData: bytesOf(tensor),
  });

/** What a tensor says of itself, checked, before any number is touched. @throws PeftError FILE_INVALID, MODEL_UNSUPPORTED */
export function tensorHeader(proto: TensorProto): { dtype: DType; shape: number[]; bytes: number } {
  const dtype = onnxDType(proto.dataType);
  if (!dtype) {
    const known = proto.dataType === 8 || proto.dataType === 15; // strings and complex128 are valid ONNX
    const code = known ? 'MODEL_UNSUPPORTED' : 'FILE_INVALID';
    throw new PeftError(
      code,
      `Tensor "${proto.name}" has element type ${proto.dataType}, which this library does not read.`,
    );
  }
  const shape = proto.dims.map(Number);
  try {
    return { dtype, shape, bytes: byteLength(dtype, shape) };
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `Tensor "${proto.name}" claims the shape [${proto.dims}].`, { cause });
  }
}

export const isExternal = (proto: TensorProto): boolean => proto.dataLocation === 1;

/** The stored bytes of a tensor that lies in the message: a view of `raw_data`, or packed from the typed fields. */
export function inlineBytes(proto: TensorProto): { dtype: DType; shape: number[]; bytes: Uint8Array } {
  const { dtype, shape, bytes: wanted } = tensorHeader(proto);
  const filled = filledFields(proto);
  if (filled.length > 1)
    throw new PeftError(
      'FILE_INVALID',
      `Tensor "${proto.name}" has its numbers in several fields: ${filled.join(', ')}.`,
    );
  const bytes = proto.rawData?.length ? proto.rawData : packed(proto, dtype);
  if (bytes.length !== wanted)
    throw new PeftError(
      'FILE_INVALID',
      `Tensor "${proto.name}" (${dtype} [${shape}]) has ${bytes.length} bytes of numbers; ${wanted} are needed.`,
    );
  return { dtype, shape, bytes };
}

export function decodeTensor(proto: TensorProto): Tensor {
  const { dtype, shape, bytes } = inlineBytes(proto);
  return fromBytes(dtype, shape, bytes.slice()); // a copy: a view would hold the whole file
}

const filledFields = (proto: TensorProto): string[] =>
  Object.entries({
    raw_data: proto.rawData ?? [],
    float_data: proto.floatData,
    int32_data: proto.int32Data,
    int64_data: proto.int64Data,
    double_data: proto.doubleData,
    uint64_data: proto.uint64Data,
    string_data: proto.stringData,
  }).flatMap(([name, list]) => (list.length > 0 ? [name] : []));

/** The typed fields as stored bytes: narrow types hold one element (4-bit ones a pair) per entry of `int32_data`. */
function packed(proto: TensorProto, dtype: DType): Uint8Array {
  switch (dtype) {
    case 'f32':
    case 'c64':
      return viewOf(Float32Array.from(proto.floatData));
    case 'f64':
      return viewOf(Float64Array.from(proto.doubleData));
    case 'i64':
      return viewOf(BigInt64Array.from(proto.int64Data));
    case 'u64':
      return viewOf(BigUint64Array.from(proto.uint64Data));
    case 'u32':
      return viewOf(Uint32Array.from(proto.uint64Data, Number));
    case 'i32':
      return viewOf(Int32Array.from(proto.int32Data));
    default:
      return viewOf(bitsOf(dtype) === 16 ? Uint16Array.from(proto.int32Data) : Uint8Array.from(proto.int32Data));
  }
}

const viewOf = (data: TypedArray): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
