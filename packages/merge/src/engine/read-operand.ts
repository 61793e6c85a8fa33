import {
  bf16ToF32,
  bitsOf,
  builtinKinds,
  type DType,
  elementCount,
  f16ToF32,
  fromBytes,
  kindOf,
  type TensorRef,
  toF32,
} from '@peftjs/core';
import type { Files, OpenFile } from '../platform/platform.js';
import type { Operand } from './task.js';

/** Reads elements `from` to `to` (row-major) as float32 into `out`. */
export type Read = (from: number, to: number, out: Float32Array) => Promise<void> | void;

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

/** Bytes as they lie in a file, widened. */
function readFrom(file: OpenFile, { dtype, offset }: { dtype: DType; offset: number }): Read {
  const size = bitsOf(dtype) / 8;
  let scratch = new Uint8Array(0);
  const bytesOf = (count: number) => {
    if (scratch.length < count * size) scratch = new Uint8Array(count * size);
    return scratch.subarray(0, count * size);
  };
  return (from, to, out) => {
    const at = offset + from * size;
    if (dtype === 'f32') return file.read(new Uint8Array(out.buffer, out.byteOffset, out.byteLength), at);
    const bytes = bytesOf(to - from);
    file.read(bytes, at);
    if (dtype === 'bf16') bf16ToF32(new Uint16Array(bytes.buffer, 0, to - from), out as Float32Array<ArrayBuffer>);
    else if (dtype === 'f16') f16ToF32(new Uint16Array(bytes.buffer, 0, to - from), out as Float32Array<ArrayBuffer>);
    else out.set(toF32(fromBytes(dtype, [to - from], bytes)).data);
  };
}

/** Rows of the first axis are what a reference can give; the wanted elements are cut from them. */
function readRows(ref: TensorRef): Read {
  const rows = ref.shape[0];
  const width = rows ? elementCount(ref.shape) / rows : 1;
  return async (from, to, out) => {
    const first = Math.floor(from / width);
    const part = await ref.read(rows === undefined ? {} : { from: first, to: Math.ceil(to / width) });
    const start = rows === undefined ? 0 : first * width;
    out.set(toF32(part).data.subarray(from - start, to - start));
  };
}

function readRef(ref: TensorRef, files: OpenFiles): Read {
  const file = ref.file && bitsOf(ref.dtype) >= 8 ? files.get(ref.file.path) : undefined;
  return file ? readFrom(file, { dtype: ref.dtype, offset: ref.file!.offset }) : readRows(ref);
}

/** The sum of the updates, whole: it is made once for the tensor and held while the tensor is merged. */
async function sumOf({ terms }: Operand, shape: readonly number[]): Promise<Float64Array | undefined> {
  if (terms.length === 0) return undefined;
  const sum = new Float64Array(elementCount(shape));
  for (const term of terms) {
    const { data } = toF32(await kindOf(term, builtinKinds).dense(term, shape));
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + data[i]!;
  }
  return sum;
}

/** A reader of an operand. Stored numbers and updates are added in float64 and rounded to float32 once. */
export async function openOperand(operand: Operand, shape: readonly number[], files: OpenFiles): Promise<Read> {
  const stored = operand.ref && readRef(operand.ref, files);
  const sum = await sumOf(operand, shape);
  if (stored && !sum) return stored;
  return async (from, to, out) => {
    if (stored) await stored(from, to, out);
    else out.fill(0);
    for (let i = 0; sum && i < out.length; i++) out[i] = out[i]! + sum[from + i]!;
  };
}
