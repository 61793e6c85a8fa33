import { readInPieces } from '../tensor/refs.js';
import { smallFloatValues } from '../tensor/small-float.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';

/** A tensor that holds NaN or infinite values: how many of them, and the first. */
export interface NonFinite {
  readonly name: string;
  readonly count: number;
  /** Flat index of the first one (of the number, for complex tensors: two an element). */
  readonly index: number;
}

/** Whether stored value i of the tensor is NaN or infinite, on the bit patterns; undefined when none can be. */
function testOf({ dtype, data }: Tensor): { length: number; bad: (i: number) => boolean } | undefined {
  const exponent = { f16: 0x7c00, bf16: 0x7f80 }[dtype as string];
  if (exponent !== undefined) {
    const bits = data as Uint16Array;
    return { length: bits.length, bad: (i) => (bits[i]! & exponent) === exponent };
  }
  if (dtype === 'f32' || dtype === 'c64' || dtype === 'f64') {
    const values = data as Float64Array;
    return { length: values.length, bad: (i) => !Number.isFinite(values[i]) };
  }
  const values = smallFloatValues(dtype);
  if (!values || values.every(Number.isFinite)) return undefined;
  const patterns = data as Uint8Array; // a byte each: the only smaller type, f4, is finite throughout
  return { length: patterns.length, bad: (i) => !Number.isFinite(values[patterns[i]!]) };
}

/** The tensors that hold NaN or infinite values. Reads everything, in pieces; integers and bool are left out. */
export async function nonFinite(
  tensors: ReadonlyMap<string, TensorRef>,
  options: { signal?: AbortSignal } = {},
): Promise<NonFinite[]> {
  const found: NonFinite[] = [];
  for (const [name, ref] of tensors) {
    let count = 0;
    let index = -1;
    let before = 0;
    for await (const piece of readInPieces(ref, options)) {
      const test = testOf(piece);
      if (!test) break;
      for (let i = 0; i < test.length; i++) {
        if (!test.bad(i)) continue;
        if (count++ === 0) index = before + i;
      }
      before += test.length;
    }
    if (count > 0) found.push({ name, count, index });
  }
  return found;
}
