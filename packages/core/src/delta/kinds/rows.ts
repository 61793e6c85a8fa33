import type { ShapedValue } from '../../graph/graph.js';
import type { Ops } from '../../graph/ops.js';
import { cast, toF32 } from '../../tensor/convert.js';
import { alloc, isFloat } from '../../tensor/dtype.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, copyOf, notAdditive, readTensor, strayTensors, tensorProblems } from './common.js';
import { checkIndices, isIndexType, placesOf, readIndices } from './indices.js';

/**
 * Rows of a table set to given numbers (trainable tokens of PEFT): W'[indices] = values, whatever they were before.
 * indices i32 or i64 [k]: ascending, distinct; values [k, columns].
 */
export const rowsTerm = (tensors: { readonly indices: TensorRef; readonly values: TensorRef }): Term => ({
  kind: 'rows',
  tensors,
  meta: {},
});

export const rows = defineKind({
  spec: 'v1',
  kind: 'rows',
  ...notAdditive('rows'),
  shared: true,

  async apply(weight, term, shape) {
    const indices = await readIndices(term, shape[0]!);
    const values = cast(await readTensor(term, 'values'), weight.dtype).data as Float32Array;
    const out = copyOf(weight);
    const width = shape[1]!;
    for (let k = 0; k < indices.length; k++)
      out.data.set(values.subarray(k * width, (k + 1) * width), indices[k]! * width);
    return out;
  },

  bytes: bytesOf,

  problems(term, shape) {
    if (shape.length !== 2) return [`it sets rows, the parameter is [${shape}]`];
    const count = term.tensors.indices?.shape[0];
    return [
      ...strayTensors(term, ['indices', 'values']),
      ...tensorProblems(term, 'indices', { dtypes: isIndexType, shape: [undefined] }),
      ...tensorProblems(term, 'values', { dtypes: isFloat, shape: [count, shape[1]] }),
    ];
  },

  check: (term, shape) => checkIndices(term, shape[0]!),

  async attach({ term, shape, x, ids, transposed, before, tensor }, ops) {
    const indices = await readIndices(term, shape[0]!);
    const y = await before(x);
    if (indices.length === 0) return y;
    if (transposed && !ids) return undefined;
    const values = tensor('values', toF32(await readTensor(term, 'values')));
    const places = placesOf(indices, shape[0]!);
    return setRows({ x, y, ids, places, count: indices.length, values, tensor }, ops);
  },
});

/** Rows of a weight in a graph, to be set. */
export interface RowsSite {
  /** What enters: ids i64 [rows] of a table, else [rows, in]. */
  readonly x: ShapedValue;
  /** What leaves by the weight as it is: [rows, out]. */
  readonly y: ShapedValue;
  readonly ids: boolean;
  /** As `placesOf` gives them, i64 [size]. */
  readonly places: Tensor;
  /** Number of rows. */
  readonly count: number;
  /** [count, columns] */
  readonly values: ShapedValue;
  /** Puts numbers into the graph under a name. */
  tensor(name: string, numbers: Tensor): ShapedValue;
}

/** A table looks up the given row where there is one; an output head puts the given rows' outputs in their places. */
export function setRows({ x, y, ids, places, count, values, tensor }: RowsSite, ops: Ops): ShapedValue {
  if (ids) {
    const place = ops.gather(tensor('places', places), x);
    const none = ops.constant(alloc('f32', [1, Number(values.shape[1])])); // for all that has no row
    const own = ops.gather(ops.concat([values, none], 0), place);
    return ops.where(ops.unsqueeze(ops.less(place, count), [1]), own, y);
  }
  // Column j of the outputs, or the one of its given row, which stands behind all of them.
  const size = BigInt(places.data.length);
  const data = (places.data as BigInt64Array).map((k, j) => (k < count ? k + size : BigInt(j)));
  const own = ops.gemm(x, values, undefined, { transB: true });
  return ops.gather(ops.concat([y, own], 1), tensor('columns', { ...places, data }), 1);
}
