import { cast, toF32 } from '../../tensor/convert.js';
import { isFloat } from '../../tensor/dtype.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, copyOf, notAdditive, readTensor, strayTensors, tensorProblems, withZeroRow } from './common.js';
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

  /** A table looks up the given row where there is one; an output head puts the given rows' outputs in their places. */
  async attach({ term, shape, x, ids, transposed, before, tensor }, ops) {
    const size = shape[0]!;
    const indices = await readIndices(term, size);
    const values = toF32(await readTensor(term, 'values'));
    const count = indices.length;
    if (count === 0) return before(x);
    const places = placesOf(indices, size);
    if (ids) {
      const place = ops.gather(tensor('places', places), x);
      const own = ops.gather(tensor('values', withZeroRow(values)), place);
      return ops.where(ops.unsqueeze(ops.less(place, count), [1]), own, await before(x));
    }
    if (transposed) return undefined;
    // Column j of the outputs, or the one of its given row, which stands behind all of them.
    const data = (places.data as BigInt64Array).map((k, j) => (k < count ? k + BigInt(size) : BigInt(j)));
    const own = ops.gemm(x, tensor('values', values), undefined, { transB: true });
    return ops.gather(ops.concat([await before(x), own], 1), tensor('places', { ...places, data }), 1);
  },
});
