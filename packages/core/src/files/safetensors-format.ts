import type { DType } from '../tensor/tensor.js';

/**
 * Names of the dtypes in a safetensors file, in ascending order of the writer's rank: tensors are laid out by
 * descending rank, then by name. Types of the table in `tensor/` that are missing here cannot be written.
 */
const names: readonly (readonly [string, DType])[] = [
  ['BOOL', 'bool'],
  ['F4', 'f4'],
  ['F6_E2M3', 'f6_e2m3'],
  ['F6_E3M2', 'f6_e3m2'],
  ['U8', 'u8'],
  ['I8', 'i8'],
  ['F8_E5M2', 'f8_e5m2'],
  ['F8_E4M3', 'f8_e4m3'],
  ['F8_E8M0', 'f8_e8m0'],
  ['F8_E4M3FNUZ', 'f8_e4m3fnuz'],
  ['F8_E5M2FNUZ', 'f8_e5m2fnuz'],
  ['I16', 'i16'],
  ['U16', 'u16'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['I32', 'i32'],
  ['U32', 'u32'],
  ['F32', 'f32'],
  ['C64', 'c64'],
  ['F64', 'f64'],
  ['I64', 'i64'],
  ['U64', 'u64'],
];

export const dtypeOfName: ReadonlyMap<string, DType> = new Map(names);
export const nameOfDtype: ReadonlyMap<DType, string> = new Map(names.map(([name, dtype]) => [dtype, name]));
export const rankOfDtype: ReadonlyMap<DType, number> = new Map(names.map(([, dtype], rank) => [dtype, rank]));

export const metadataKey = '__metadata__';

/** Bytes of the length field in front of the header. */
export const lengthBytes = 8;

/** The official reader's limit. */
export const maxHeaderBytes = 100_000_000;

/** Far above any checkpoint (the largest have 100 000), far below what fills memory. */
export const maxTensors = 250_000;

/** Far above any tensor in use; the same as NumPy's. */
export const maxRank = 64;

/** Order of strings by their UTF-8 bytes, which differs from that of JavaScript where surrogate pairs occur. */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const surrogate = (unit: number) => unit >= 0xd800 && unit <= 0xdfff;
    return surrogate(x) === surrogate(y) ? x - y : surrogate(x) ? (y >= 0xe000 ? 1 : x - y) : x >= 0xe000 ? -1 : x - y;
  }
  return a.length - b.length;
}
