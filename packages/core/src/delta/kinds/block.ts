import type { ShapedValue } from '../../graph/graph.js';
import type { Ops } from '../../graph/ops.js';
import { scaled, toF32 } from '../../tensor/convert.js';
import { alloc, isFloat } from '../../tensor/dtype.js';
import { f32 } from '../../tensor/refs.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { transposed as turned } from '../../tensor/transpose.js';
import { defineKind } from '../define.js';
import type { KindSite, Term } from '../delta.js';
import { bytesOf, readTensor, scaleOf, scaleProblems, strayTensors, tensorProblems, withZeroRow } from './common.js';
import { checkIndices, graphIndices, isIndexType, placesOf, readIndices } from './indices.js';

export interface BlockOptions {
  readonly scale?: number;
  /** Axis of the parameter as it lies along which `indices` choose: 0 rows, 1 columns. */
  readonly axis: 0 | 1;
  /** The parameter lies as (in, out). */
  readonly transposed?: boolean;
}

/**
 * Whole rows or columns of a matrix (S²FT, Yang et al. 2024): ΔW = scale · block at the indices, zero elsewhere.
 * indices i32 or i64 [k]: ascending, distinct; block [k, columns] for axis 0, [rows, k] for axis 1.
 */
export const blockTerm = (
  tensors: { readonly indices: TensorRef; readonly block: TensorRef },
  { scale = 1, axis, transposed = false }: BlockOptions,
): Term => ({ kind: 'block', tensors, meta: { scale, axis, transposed } });

const axisOf = (term: Term): 0 | 1 => (term.meta.axis === 1 ? 1 : 0);

/** The chosen indices, and the block as rows of numbers: [k, extent of the other axis], scale inside. */
async function chosen(term: Term, shape: readonly number[]) {
  const axis = axisOf(term);
  const indices = await readIndices(term, shape[axis]!);
  const block = scaled(await readTensor(term, 'block'), scaleOf(term));
  return { indices, rows: axis === 0 ? block : turned(block) };
}

/** Flat index of entry `j` of the chosen row or column `at`. */
const flat = (axis: 0 | 1, at: number, j: number, columns: number) =>
  axis === 0 ? at * columns + j : j * columns + at;

export const block = defineKind({
  spec: 'v1',
  kind: 'block',

  async dense(term, shape) {
    const { indices, rows } = await chosen(term, shape);
    const axis = axisOf(term);
    const [width, columns] = [rows.shape[1]!, shape[1]!];
    const out = alloc('f32', shape);
    const data = out.data as Float32Array;
    for (let k = 0; k < indices.length; k++)
      for (let j = 0; j < width; j++) data[flat(axis, indices[k]!, j, columns)] = rows.data[k * width + j]!;
    return out;
  },

  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: scaleOf(term) * factor } }),
  bytes: bytesOf,

  problems(term, shape) {
    if (shape.length !== 2) return [`it changes rows or columns, the parameter is [${shape}]`];
    const out = strayTensors(term, ['indices', 'block']);
    if (term.meta.axis !== 0 && term.meta.axis !== 1) out.push(`its axis is ${term.meta.axis}, it can be 0 or 1`);
    const count = term.tensors.indices?.shape[0];
    const extents = axisOf(term) === 0 ? [count, shape[1]] : [shape[0], count];
    return [
      ...out,
      ...tensorProblems(term, 'indices', { dtypes: isIndexType, shape: [undefined] }),
      ...tensorProblems(term, 'block', { dtypes: isFloat, shape: extents }),
      ...scaleProblems(term),
    ];
  },

  check: (term, shape) => checkIndices(term, shape[axisOf(term)]!),

  async entries(term, shape) {
    const { indices, rows } = await chosen(term, shape);
    const axis = axisOf(term);
    const [count, width] = rows.shape as [number, number];
    const all = new Float64Array(count * width);
    const values = new Float32Array(count * width);
    // Entry i in the order of flat indices: rows one after the other, or across all chosen columns.
    for (let i = 0; i < all.length; i++) {
      const [k, j] = axis === 0 ? [Math.floor(i / width), i % width] : [i % count, Math.floor(i / count)];
      all[i] = flat(axis, indices[k]!, j, shape[1]!);
      values[i] = rows.data[k * width + j]!;
    }
    return { indices: all, values };
  },

  /** One factor chooses (a one in each row or column), the other holds the numbers. */
  async slots(term, shape) {
    const { indices, rows } = await chosen(term, shape);
    const lies = term.meta.transposed === true;
    const [inside, out] = lies ? [shape[0]!, shape[1]!] : [shape[1]!, shape[0]!];
    const rank = indices.length;
    if (choosesOut(term, lies)) {
      const b = new Float32Array(rank * out);
      for (let k = 0; k < rank; k++) b[k * out + indices[k]!] = 1;
      return { a: turned(rows), b: f32([rank, out], b), rank };
    }
    const a = new Float32Array(inside * rank);
    for (let k = 0; k < rank; k++) a[indices[k]! * rank + k] = 1;
    return { a: f32([inside, rank], a), b: rows, rank };
  },

  async attach(site, ops) {
    const { indices, rows } = await chosen(site.term, site.shape);
    const places = placesOf(indices, site.shape[axisOf(site.term)]!);
    if (choosesOut(site.term, site.transposed)) return toOutputs(site, rows, places, ops);
    return fromInputs(site, rows, { indices, places }, ops);
  },
});

/** Whether rows or columns of outputs are chosen, not of inputs. */
const choosesOut = (term: Term, transposed: boolean): boolean => (axisOf(term) === 0) !== transposed;

/** x blockᵀ is [rows, k]; each output takes its own column of it, or that of zeros. */
function toOutputs(site: KindSite, rows: Tensor, places: Tensor, ops: Ops): ShapedValue {
  const filled = withZeroRow(rows);
  const at = site.tensor('places', places);
  if (site.ids) {
    const table = site.tensor('block', turned(toF32(filled)));
    return ops.gather(ops.gather(table, site.x), at, 1);
  }
  const few = ops.gemm(site.x, site.tensor('block', filled), undefined, { transB: true });
  return ops.gather(few, at, 1);
}

/** The chosen columns of x times the block; for ids the rows that belong to them. */
function fromInputs(
  site: KindSite,
  rows: Tensor,
  { indices, places }: { readonly indices: ArrayLike<number>; readonly places: Tensor },
  ops: Ops,
): ShapedValue {
  if (site.ids) {
    const at = ops.gather(site.tensor('places', places), site.x);
    return ops.gather(site.tensor('block', withZeroRow(rows)), at);
  }
  const at = site.tensor('indices', graphIndices(indices));
  return ops.gemm(ops.gather(site.x, at, 1), site.tensor('block', rows));
}
