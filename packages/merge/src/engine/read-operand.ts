import {
  bitsOf,
  builtinKinds,
  type DType,
  elementCount,
  f16ToF32,
  fromBytes,
  kindOf,
  type TensorRef,
  type Term,
  toF32,
} from '@peftjs/core';
import { halves, widenBf16 } from '../kernels/index.js';
import type { Files, OpenFile } from '../platform/files.js';
import type { Operand } from './task.js';

/** Numbers that were read: fills `out` with those from the `at`-th on, as float32. */
export type Numbers = (at: number, out: Float32Array) => void;

/** Reads elements `from` to `to` (row-major). What it gives holds until it is asked again, or, to `keep`, for good. */
export type Read = (from: number, to: number, keep?: boolean) => Promise<Numbers> | Numbers;

/** Files held open while a task runs. */
export interface OpenFiles {
  get(path: string): OpenFile | undefined;
  close(): void;
}

export function openFiles(files: Files | undefined): OpenFiles {
  const open = new Map<string, OpenFile>();
  return {
    get(path) {
      const found = open.get(path) ?? files?.open(path, 'read');
      if (found) open.set(path, found);
      return found;
    },
    close() {
      for (const file of open.values()) file.close();
      open.clear();
    },
  };
}

/** Numbers in memory. */
const given =
  (data: Float32Array): Numbers =>
  (at, out) =>
    out.set(data.subarray(at, at + out.length));

/** Bytes as they lie in a file, widened when they are wanted. */
function numbersOf(dtype: DType, bytes: Uint8Array): Numbers {
  const { buffer, byteOffset } = bytes;
  const count = (8 * bytes.length) / bitsOf(dtype);
  if (dtype === 'f32') return given(new Float32Array(buffer, byteOffset, count));
  if (dtype !== 'bf16' && dtype !== 'f16') return given(toF32(fromBytes(dtype, [count], bytes)).data);
  const stored = new Uint16Array(buffer, byteOffset, count);
  const widen = dtype === 'bf16' ? widenBf16 : widenF16;
  return (at, out) => {
    const part = halves(out.length);
    part.set(stored.subarray(at, at + out.length));
    widen(out, part);
  };
}

const widenF16 = (out: Float32Array, part: Uint16Array): void => {
  f16ToF32(part, out as Float32Array<ArrayBuffer>);
};

function readFrom(file: OpenFile, { dtype, offset }: { dtype: DType; offset: number }): Read {
  const size = bitsOf(dtype) / 8;
  let again = new Uint8Array(0);
  return (from, to, keep = false) => {
    const length = (to - from) * size;
    if (!keep && again.length < length) again = new Uint8Array(length);
    const bytes = keep ? new Uint8Array(length) : again.subarray(0, length);
    file.read(bytes, offset + from * size);
    return numbersOf(dtype, bytes);
  };
}

/** Rows of the first axis are what a reference can give; the wanted elements are cut from them. */
function readRows(ref: TensorRef): Read {
  const rows = ref.shape[0];
  const width = rows ? elementCount(ref.shape) / rows : 1;
  return async (from, to) => {
    const first = Math.floor(from / width);
    const part = await ref.read(rows === undefined ? {} : { from: first, to: Math.ceil(to / width) });
    const start = rows === undefined ? 0 : first * width;
    return given(toF32(part).data.subarray(from - start, to - start));
  };
}

/** Whether the bytes of a reference can be read at any number, from a file. */
const isPlain = ({ file, dtype }: TensorRef): boolean => file !== undefined && bitsOf(dtype) >= 8;

/** Bytes of one number of an operand that was read: as they are stored, or float32. */
export const heldSize = ({ ref }: Operand): number => (ref && isPlain(ref) ? bitsOf(ref.dtype) / 8 : 4);

function readRef(ref: TensorRef, files: OpenFiles): Read {
  const file = isPlain(ref) ? files.get(ref.file!.path) : undefined;
  return file ? readFrom(file, { dtype: ref.dtype, offset: ref.file!.offset }) : readRows(ref);
}

const zeros: Numbers = (_, out) => {
  out.fill(0);
};

/** The sum of the updates, whole. */
async function sumOf(terms: readonly Term[], shape: readonly number[]): Promise<Float32Array | Float64Array> {
  const dense = async (term: Term) => toF32(await kindOf(term, builtinKinds).dense(term, shape)).data;
  if (terms.length === 1) return dense(terms[0]!);
  const sum = new Float64Array(elementCount(shape));
  for (const term of terms) {
    const data = await dense(term);
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + data[i]!;
  }
  return sum;
}

/**
 * A reader of an operand. Stored numbers and updates are added in float64 and rounded to float32 once. Updates are
 * multiplied out with the first read, once, and held while the reader is.
 */
export function openOperand({ ref, terms }: Operand, shape: readonly number[], files: OpenFiles): Read {
  const stored = ref && readRef(ref, files);
  if (terms.length === 0) return stored ?? (() => zeros);
  let updates: Promise<Float32Array | Float64Array> | undefined;
  return async (from, to, keep) => {
    updates ??= sumOf(terms, shape);
    const sum = await updates;
    const numbers = await stored?.(from, to, keep);
    return (at, out) => {
      (numbers ?? zeros)(at, out);
      for (let i = 0; i < out.length; i++) out[i] = out[i]! + sum[from + at + i]!;
    };
  };
}
