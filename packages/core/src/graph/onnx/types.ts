import type { DType } from '../../tensor/tensor.js';

/** TensorProto.DataType by our names. Strings (8) and complex128 (15) have no tensor here; f6 has no ONNX type. */
const codes: Partial<Record<DType, number>> = {
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
  c64: 14,
  bf16: 16,
  f8_e4m3: 17,
  f8_e4m3fnuz: 18,
  f8_e5m2: 19,
  f8_e5m2fnuz: 20,
  u4: 21,
  i4: 22,
  f4: 23,
  f8_e8m0: 24,
};

const names = new Map(Object.entries(codes).map(([name, code]) => [code, name as DType]));

/** The ONNX code of a dtype; undefined when ONNX has none. */
export const onnxCode = (dtype: DType): number | undefined => codes[dtype];

/** The dtype of an ONNX code; undefined for strings, complex128 and codes that do not exist. */
export const onnxDType = (code: number): DType | undefined => names.get(code);

/** AttributeProto.AttributeType of the kinds that are interpreted. */
export const attributeType = { float: 1, int: 2, string: 3, tensor: 4, floats: 6, ints: 7, strings: 8 } as const;
