import type { DType } from '../../tensor/tensor.js';

/** Scalars of the metadata, at the place of their code. Code 9 is an array of them. */
export const scalarTypes = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  undefined,
  'u64',
  'i64',
  'f64',
] as const;

export type GgufScalarType = NonNullable<(typeof scalarTypes)[number]>;
export type GgufScalar = number | bigint | boolean | string;

export const arrayCode = 9;

/** A value of the metadata; 64-bit integers are bigint. */
export type GgufValue =
  | { readonly type: GgufScalarType; readonly value: GgufScalar }
  | { readonly type: 'array'; readonly of: GgufScalarType; readonly value: readonly GgufScalar[] };

/** Bytes of the fixed part of a scalar: of a string, its length. */
export const scalarBytes: Readonly<Record<GgufScalarType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  u64: 8,
  i64: 8,
  f64: 8,
};

/** How a tensor is stored: `block` elements take `bytes` bytes. Only those with a `dtype` are read. */
export interface GgmlType {
  readonly name: string;
  readonly block: number;
  readonly bytes: number;
  readonly dtype?: DType;
}

const plain = (name: string, dtype: DType, bytes: number): GgmlType => ({ name, block: 1, bytes, dtype });
const quantised = (name: string, block: number, bytes: number): GgmlType => ({ name, block, bytes });

/** Tensor types of ggml by their code. */
export const ggmlTypes: ReadonlyMap<number, GgmlType> = new Map([
  [0, plain('F32', 'f32', 4)],
  [1, plain('F16', 'f16', 2)],
  [2, quantised('Q4_0', 32, 18)],
  [3, quantised('Q4_1', 32, 20)],
  [6, quantised('Q5_0', 32, 22)],
  [7, quantised('Q5_1', 32, 24)],
  [8, quantised('Q8_0', 32, 34)],
  [9, quantised('Q8_1', 32, 36)],
  [10, quantised('Q2_K', 256, 84)],
  [11, quantised('Q3_K', 256, 110)],
  [12, quantised('Q4_K', 256, 144)],
  [13, quantised('Q5_K', 256, 176)],
  [14, quantised('Q6_K', 256, 210)],
  [15, quantised('Q8_K', 256, 292)],
  [16, quantised('IQ2_XXS', 256, 66)],
  [17, quantised('IQ2_XS', 256, 74)],
  [18, quantised('IQ3_XXS', 256, 98)],
  [19, quantised('IQ1_S', 256, 50)],
  [20, quantised('IQ4_NL', 32, 18)],
  [21, quantised('IQ3_S', 256, 110)],
  [22, quantised('IQ2_S', 256, 82)],
  [23, quantised('IQ4_XS', 256, 136)],
  [24, plain('I8', 'i8', 1)],
  [25, plain('I16', 'i16', 2)],
  [26, plain('I32', 'i32', 4)],
  [27, plain('I64', 'i64', 8)],
  [28, plain('F64', 'f64', 8)],
  [29, quantised('IQ1_M', 256, 56)],
  [30, plain('BF16', 'bf16', 2)],
  [34, quantised('TQ1_0', 256, 54)],
  [35, quantised('TQ2_0', 256, 66)],
  [39, quantised('MXFP4', 32, 17)],
]);

/** The code of a dtype; undefined where ggml has none. */
export const ggmlCode = (dtype: DType): number | undefined =>
  [...ggmlTypes].find(([, type]) => type.dtype === dtype)?.[0];

export const magic = 'GGUF';
export const version = 3;
/** Offsets are multiples of it unless `general.alignment` says otherwise. */
export const defaultAlignment = 32;
export const alignmentKey = 'general.alignment';

export const alignUp = (at: number, alignment: number): number => Math.ceil(at / alignment) * alignment;
