import { elementCount, type Kinds, kindOf, PeftError, type Term, toF32 } from '@peftjs/core';
import type { Matrix } from '@peftjs/core/tensor';

/** How a shape is seen as a matrix: the first axis makes the rows, all others the columns. A vector is one row. */
export function extentsOf(shape: readonly number[]): { readonly rows: number; readonly columns: number } {
  const [rows = 1, ...rest] = shape;
  return shape.length < 2 ? { rows: 1, columns: rows } : { rows, columns: elementCount(rest) };
}

/**
 * Σ of the terms of one parameter, in double precision.
 * @param path what messages call it
 * @throws PeftError DELTA_CONFLICT when a number of it is not finite
 */
export async function denseSum(
  path: string,
  terms: readonly Term[],
  shape: readonly number[],
  kinds: Kinds,
): Promise<Matrix> {
  const data = new Float64Array(elementCount(shape));
  for (const term of terms) {
    const part = toF32(await kindOf(term, kinds).dense(term, shape)).data;
    for (let i = 0; i < data.length; i++) data[i] = data[i]! + part[i]!;
  }
  const bad = data.findIndex((x) => !Number.isFinite(x));
  if (bad < 0) return { ...extentsOf(shape), data };
  const problem = `The change of "${path}" has ${data[bad]} at position ${bad}: it cannot be compressed. Train it again, or leave it out.`;
  throw new PeftError('DELTA_CONFLICT', problem, { details: { parameter: path, position: bad } });
}

/** ‖a − b‖ / ‖a‖ (Frobenius); 0 where they are equal. */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    norm += a[i]! ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}
