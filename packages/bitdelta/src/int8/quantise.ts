import type { Matrix } from '@peftjs/core/tensor';
import { clamp, roundHalfEven } from '../rounding.js';

/** Eight bits for every element, with a scale a row: w ≈ scale (code − zero). */
export interface Int8Rows {
  readonly codes: Int8Array | Uint8Array;
  readonly scale: Float32Array;
  /** The code of 0, one a row; absent where it is 0. */
  readonly zero?: Uint8Array;
}

const rowOf = ({ columns, data }: Matrix, o: number): Float64Array => data.subarray(o * columns, (o + 1) * columns);

/** scale = max |w| / 127 (1 for a row of zeros), codes -127 to 127. The error is at most scale / 2. */
export function quantiseSymmetric(matrix: Matrix): Int8Rows {
  const codes = new Int8Array(matrix.data.length);
  const scale = new Float32Array(matrix.rows);
  for (let o = 0; o < matrix.rows; o++) {
    const row = rowOf(matrix, o);
    const s = Math.fround(row.reduce((m, w) => Math.max(m, Math.abs(w)), 0) / 127) || 1;
    scale[o] = s;
    row.forEach((w, i) => {
      codes[o * matrix.columns + i] = clamp(roundHalfEven(w / s), -127, 127);
    });
  }
  return { codes, scale };
}

/** scale = (max − min) / 255 over a range that includes 0, codes 0 to 255; a 0 stays exactly 0. */
export function quantiseAsymmetric(matrix: Matrix): Int8Rows & { readonly zero: Uint8Array } {
  const codes = new Uint8Array(matrix.data.length);
  const scale = new Float32Array(matrix.rows);
  const zero = new Uint8Array(matrix.rows);
  for (let o = 0; o < matrix.rows; o++) {
    const row = rowOf(matrix, o);
    const low = row.reduce((m, w) => Math.min(m, w), 0);
    const high = row.reduce((m, w) => Math.max(m, w), 0);
    const s = Math.fround((high - low) / 255) || 1;
    const z = clamp(roundHalfEven(-low / s), 0, 255);
    scale[o] = s;
    zero[o] = z;
    row.forEach((w, i) => {
      codes[o * matrix.columns + i] = clamp(roundHalfEven(w / s) + z, 0, 255);
    });
  }
  return { codes, scale, zero };
}

/** scale (code − zero): rows × columns, row-major. */
export function dequantise({ codes, scale, zero }: Int8Rows, columns: number): Float32Array {
  const out = new Float32Array(codes.length);
  scale.forEach((s, o) => {
    const z = zero?.[o] ?? 0;
    for (let i = o * columns; i < (o + 1) * columns; i++) out[i] = s * (codes[i]! - z);
  });
  return out;
}
