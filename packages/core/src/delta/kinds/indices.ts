import { PeftError } from '../../errors.js';
import { tensorRef } from '../../tensor/refs.js';
import type { DType, Tensor, TensorRef } from '../../tensor/tensor.js';
import type { Term } from '../delta.js';
import { readTensor } from './common.js';

/** Indices are stored as int32 where all of a parameter's fit, else as int64. */
export const isIndexType = (dtype: DType): boolean => dtype === 'i32' || dtype === 'i64';

/** @param size one more than the largest index there can be */
export function indexTensor(values: ArrayLike<number>, size: number): Tensor {
  return size <= 2 ** 31
    ? { dtype: 'i32', shape: [values.length], data: Int32Array.from(values) }
    : graphIndices(values);
}

export const indexRef = (values: ArrayLike<number>, size: number): TensorRef => tensorRef(indexTensor(values, size));

/** Indices as graphs take them: i64 [k]. */
export const graphIndices = (values: ArrayLike<number>): Tensor => ({
  dtype: 'i64',
  shape: [values.length],
  data: BigInt64Array.from(values as number[], BigInt),
});

/** What is wrong with indices that have to be ascending, distinct and below `size`; undefined when nothing is. */
export function indexProblem(values: ArrayLike<number>, size: number): string | undefined {
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value < 0 || value >= size) return `its index ${value} at ${i} is outside 0 to ${size - 1}`;
    if (i > 0 && value === values[i - 1]) return `its index ${value} is there twice`;
    if (i > 0 && value < values[i - 1]!)
      return `its indices are not ascending at ${i}: ${value} after ${values[i - 1]}`;
  }
  return undefined;
}

/** Integers as numbers: exact up to 2^53, which no parameter reaches. */
export const numbersOf = ({ data }: Tensor): ArrayLike<number> =>
  data instanceof BigInt64Array ? Float64Array.from(data, Number) : (data as Int32Array);

/** The `indices` of a term. @throws PeftError ADAPTER_INVALID for those that break the rules */
export async function readIndices(term: Term, size: number): Promise<ArrayLike<number>> {
  const values = numbersOf(await readTensor(term, 'indices'));
  const problem = indexProblem(values, size);
  if (problem) throw new PeftError('ADAPTER_INVALID', `A ${term.kind} term is broken: ${problem}.`);
  return values;
}

/** `Kind.check` of kinds with indices. */
export async function checkIndices(term: Term, size: number): Promise<string[]> {
  const problem = indexProblem(numbersOf(await readTensor(term, 'indices')), size);
  return problem ? [problem] : [];
}

/** For every number below `size` its place among the indices; their count for those that are not there. i64 [size] */
export function placesOf(indices: ArrayLike<number>, size: number): Tensor {
  const data = new BigInt64Array(size).fill(BigInt(indices.length));
  for (let k = 0; k < indices.length; k++) data[indices[k]!] = BigInt(k);
  return { dtype: 'i64', shape: [size], data };
}
