import { arrayLength, bytesOf, cast, type DType, f32ToF16, PeftError } from '@peftjs/core';
import { halves, narrowBf16, reaches } from '../kernels/index.js';
import type { Files } from '../platform/files.js';
import type { Target } from './task.js';

/** Where a task's numbers go, in any order. */
export interface Sink {
  /** @param at row-major index of the first number */
  write(at: number, values: Float32Array): void;
  /** Raw bytes of the target's own dtype, of tensors that are only copied. */
  copy(atByte: number, bytes: Uint8Array): void;
  /** Releases what is held; the whole result, where it stays in memory. */
  close(): ArrayBuffer | undefined;
}

/** One rounding, to nearest, ties to even. */
function narrow(values: Float32Array, dtype: DType): Uint8Array {
  if (dtype === 'bf16') {
    const out = halves(values.length);
    narrowBf16(out, values);
    return bytesOf({ dtype, shape: [], data: out });
  }
  if (dtype === 'f16') return bytesOf({ dtype, shape: [], data: f32ToF16(values) });
  return bytesOf(cast({ dtype: 'f32', shape: [values.length], data: values }, dtype));
}

/** Bits of the smallest magnitude that a dtype cannot hold: what rounds above its largest value becomes infinite. */
const limits: Partial<Record<DType, number>> = { f16: 0x477ff000, bf16: 0x7f7f8000 };
const infinity = 0x7f800000;

/** @throws PeftError DELTA_CONFLICT when a result is not finite in its dtype */
export function requireStorable(values: Float32Array, dtype: DType, tensor: string, offset: number): void {
  const limit = limits[dtype] ?? infinity;
  if (!reaches(values, limit)) return;
  const i = values.findIndex((x) => reaches(Float32Array.of(x), limit));
  const problem = `Element ${offset + i} of the merged tensor "${tensor}" is ${values[i]}, which ${dtype} cannot hold.`;
  const remedy = dtype === 'f16' ? 'Write bfloat16 or float32 (outDtype).' : 'Use smaller weights.';
  throw new PeftError('DELTA_CONFLICT', `${problem} ${remedy}`, { details: { tensor, index: offset + i } });
}

export function openSink(target: Target, shape: readonly number[], files: Files | undefined): Sink {
  const { dtype } = target;
  const size = arrayLength(dtype, [1]) > 0 ? narrow(new Float32Array(1), dtype).length : 1;
  if (target.to === 'file') {
    const file = files!.open(target.path, 'write');
    return {
      write: (at, values) => file.write(narrow(values, dtype), target.offset + at * size),
      copy: (at, bytes) => file.write(bytes, target.offset + at),
      close() {
        file.close();
        return undefined;
      },
    };
  }
  const whole = new Uint8Array(shape.reduce((n, extent) => n * extent, size));
  return {
    write: (at, values) => whole.set(narrow(values, dtype), at * size),
    copy: (at, bytes) => whole.set(bytes, at),
    close: () => whole.buffer,
  };
}
