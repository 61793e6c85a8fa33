import { toF32 } from '../../tensor/convert.js';
import { alloc, elementCount, isFloat } from '../../tensor/dtype.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Entries, Term } from '../delta.js';
import { bytesOf, readTensor, scaleOf, scaleProblems, strayTensors, tensorProblems } from './common.js';
import { checkIndices, indexRef, isIndexType, readIndices } from './indices.js';

/**
 * ΔW = scale · values at `indices`, zero elsewhere; a parameter of any shape. indices i32 or i64 [k]: flat, row-major,
 * ascending, distinct; values [k].
 */
export const sparseTerm = (tensors: { readonly indices: TensorRef; readonly values: TensorRef }, scale = 1): Term => ({
  kind: 'sparse',
  tensors,
  meta: { scale },
});

/** A term of entries with their scales inside. */
export const sparseOf = ({ indices, values }: Entries, shape: readonly number[]): Term =>
  sparseTerm({
    indices: indexRef(indices, elementCount(shape)),
    values: tensorRef(f32([values.length], values)),
  });

/** The union of entries, where equal indices add up in double precision. */
export function unionOf(parts: readonly Entries[]): Entries {
  const { indices, values } = parts.reduce<{ indices: ArrayLike<number>; values: ArrayLike<number> }>(
    (all, part) => mergeTwo(all, part),
    { indices: [], values: [] },
  );
  return { indices, values: Float32Array.from(values) };
}

function mergeTwo(
  a: { readonly indices: ArrayLike<number>; readonly values: ArrayLike<number> },
  b: { readonly indices: ArrayLike<number>; readonly values: ArrayLike<number> },
) {
  const most = a.indices.length + b.indices.length;
  const [indices, values] = [new Float64Array(most), new Float64Array(most)];
  let [i, j, count] = [0, 0, 0];
  for (; i < a.indices.length || j < b.indices.length; count++) {
    const left = i < a.indices.length ? a.indices[i]! : Number.POSITIVE_INFINITY;
    const right = j < b.indices.length ? b.indices[j]! : Number.POSITIVE_INFINITY;
    indices[count] = Math.min(left, right);
    if (left <= right) values[count] = a.values[i++]!;
    if (right <= left) values[count] = values[count]! + b.values[j++]!;
  }
  return { indices: indices.subarray(0, count), values: values.subarray(0, count) };
}

async function entries(term: Term, shape: readonly number[]): Promise<Entries> {
  const s = scaleOf(term);
  const indices = await readIndices(term, elementCount(shape));
  const values = toF32(await readTensor(term, 'values')).data;
  return { indices, values: s === 1 ? values : values.map((x) => s * x) };
}

export const sparse = defineKind({
  spec: 'v1',
  kind: 'sparse',
  shared: true,

  async dense(term, shape) {
    const { indices, values } = await entries(term, shape);
    const out = alloc('f32', shape);
    for (let k = 0; k < values.length; k++) (out.data as Float32Array)[indices[k]!] = values[k]!;
    return out;
  },

  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: scaleOf(term) * factor } }),

  async add(terms, shape) {
    return sparseOf(unionOf(await Promise.all(terms.map((term) => entries(term, shape)))), shape);
  },

  bytes: bytesOf,

  problems(term) {
    const count = term.tensors.indices?.shape[0];
    return [
      ...strayTensors(term, ['indices', 'values']),
      ...tensorProblems(term, 'indices', { dtypes: isIndexType, shape: [undefined] }),
      ...tensorProblems(term, 'values', { dtypes: isFloat, shape: [count] }),
      ...scaleProblems(term),
    ];
  },

  check: (term, shape) => checkIndices(term, elementCount(shape)),
  entries,
});
