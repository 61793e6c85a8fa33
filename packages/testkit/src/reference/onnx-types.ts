import type { DType } from '@peftjs/core';
import { PeftError } from '@peftjs/core';

/** ONNX TensorProto.DataType numbers of the dtypes that the reference computes with. */
const codes: Readonly<Record<number, DType>> = {
  1: 'f32',
  2: 'u8',
  3: 'i8',
  4: 'u16',
  5: 'i16',
  6: 'i32',
  7: 'i64',
  9: 'bool',
  10: 'f16',
  11: 'f64',
  12: 'u32',
  13: 'u64',
  16: 'bf16',
};

/** @throws PeftError BACKEND_UNSUPPORTED for a type it does not compute with */
export function dtypeOfCode(code: number): DType {
  const dtype = codes[code];
  if (!dtype)
    throw new PeftError('BACKEND_UNSUPPORTED', `ONNX element type ${code} is not known to the reference backend.`);
  return dtype;
}
