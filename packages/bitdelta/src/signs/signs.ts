import type { Matrix } from '@peftjs/core/tensor';

/** One bit plane of a matrix: a sign for every element and how large they are. */
export interface Signs {
  /** [⌈columns/32⌉, rows], row-major: bit j of word [w, o] is column 32 w + j of row o, 1 is +. Spare bits are 0. */
  readonly mask: Int32Array;
  /** One scale for all, or one a row. */
  readonly scale: Float32Array;
}

export interface SignsOptions {
  readonly scale: 'tensor' | 'row';
  /** What a zero becomes. NOTE: the paper's Sign(0) is −1, its code's +1. */
  readonly signOfZero: 1 | -1;
}

export const wordsOf = (columns: number): number => Math.ceil(columns / 32);

/**
 * Sign(Δ) and α = mean |Δ|, the scale with the least squared error for these signs (Liu et al. 2024, section 3).
 */
export function signsOf({ rows, columns, data }: Matrix, { scale, signOfZero }: SignsOptions): Signs {
  const mask = new Int32Array(wordsOf(columns) * rows);
  const sums = new Float64Array(rows);
  for (let o = 0; o < rows; o++) {
    for (let i = 0; i < columns; i++) {
      const x = data[o * columns + i]!;
      sums[o] = sums[o]! + Math.abs(x);
      if (x > 0 || (x === 0 && signOfZero > 0)) mask[(i >> 5) * rows + o]! |= 1 << (i & 31);
    }
  }
  const mean = (total: number, count: number) => (count === 0 ? 0 : total / count);
  const alpha =
    scale === 'row'
      ? Float32Array.from(sums, (sum) => mean(sum, columns))
      : Float32Array.of(
          mean(
            sums.reduce((a, b) => a + b, 0),
            rows * columns,
          ),
        );
  return { mask, scale: alpha };
}

/** ±α for every element: rows × columns. */
export function expandSigns({ mask, scale }: Signs, rows: number, columns: number): Float32Array {
  const out = new Float32Array(rows * columns);
  for (let o = 0; o < rows; o++) {
    const alpha = scale.length === 1 ? scale[0]! : scale[o]!;
    for (let i = 0; i < columns; i++)
      out[o * columns + i] = ((mask[(i >> 5) * rows + o]! >>> (i & 31)) & 1) === 1 ? alpha : -alpha;
  }
  return out;
}

/** Whether no bit stands for a column that there is not. */
export function spareBitsAreZero(mask: Int32Array, rows: number, columns: number): boolean {
  const used = columns & 31;
  return used === 0 || mask.subarray((columns >> 5) * rows).every((word) => word >>> used === 0);
}

/** The matrix as a sum of `bits` planes: each takes the signs of what the ones before it left over. */
export function signPlanes(matrix: Matrix, bits: number, options: SignsOptions): Signs[] {
  const { rows, columns } = matrix;
  const residual = Float64Array.from(matrix.data);
  return Array.from({ length: bits }, () => {
    const plane = signsOf({ rows, columns, data: residual }, options);
    const made = expandSigns(plane, rows, columns);
    for (let i = 0; i < residual.length; i++) residual[i] = residual[i]! - made[i]!;
    return plane;
  });
}
