import { toF32 } from '../../tensor/convert.js';
import { isFloat } from '../../tensor/dtype.js';
import { f32 } from '../../tensor/refs.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, copyOf, notAdditive, readTensor, strayTensors, tensorProblems } from './common.js';
import { type LowRankOptions, lowRank, lowRankTerm } from './low-rank.js';

/**
 * DoRA (Liu et al. 2024, eq. 5): W' = m ⊙ V / ‖V‖ with V = W + scale · B A. a [r, in], b [out, r], magnitude m [out];
 * the norm is the Euclidean one over the inputs of each output: rows of (out, in), columns of (in, out) and of tables.
 */
export const doraTerm = (
  tensors: { readonly a: TensorRef; readonly b: TensorRef; readonly magnitude: TensorRef },
  options: LowRankOptions,
): Term => ({ kind: 'dora', tensors, meta: lowRankTerm(tensors, options).meta });

/** Its direction alone. */
const direction = ({ tensors: { a, b }, meta }: Term): Term => ({
  kind: 'low-rank',
  tensors: { ...(a && { a }), ...(b && { b }) },
  meta,
});

const outputs = (term: Term, shape: readonly number[]): number | undefined =>
  shape[term.meta.transposed === true ? 1 : 0];

/** V = W + scale · B A, and m / ‖V‖ for each output; 0 where V is 0. */
async function parts(weight: Tensor, term: Term, shape: readonly number[]) {
  const magnitude = toF32(await readTensor(term, 'magnitude')).data;
  const change = toF32(await lowRank.dense(direction(term), shape)).data;
  const v = copyOf(weight);
  const [rows, columns] = shape as [number, number];
  const squares = new Float64Array(magnitude.length);
  const output = (i: number, j: number) => (term.meta.transposed === true ? j : i);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const at = i * columns + j;
      const value = v.data[at]! + change[at]!;
      v.data[at] = value;
      const o = output(i, j);
      squares[o] = squares[o]! + value * value;
    }
  const factors = squares.map((square, o) => (square === 0 ? 0 : magnitude[o]! / Math.sqrt(square)));
  return { v, factors, output };
}

export const dora = defineKind({
  spec: 'v1',
  kind: 'dora',
  ...notAdditive('dora'),

  async apply(weight, term, shape) {
    const { v, factors, output } = await parts(weight, term, shape);
    const columns = shape[1]!;
    for (let at = 0; at < v.data.length; at++)
      v.data[at] = v.data[at]! * factors[output(Math.floor(at / columns), at % columns)]!;
    return v;
  },

  bytes: bytesOf,

  problems(term, shape) {
    const low = lowRank.problems(direction(term), shape);
    if (shape.length !== 2) return low;
    return [
      ...strayTensors(term, ['a', 'b', 'magnitude']),
      ...low,
      ...tensorProblems(term, 'magnitude', { dtypes: isFloat, shape: [outputs(term, shape)] }),
    ];
  },

  /** m / ‖V‖ ⊙ (x Wᵀ + x (scale · B A)ᵀ): the norms are constants when nothing is trained. */
  async attach({ term, shape, x, ids, before, weight, tensor }, ops) {
    const { factors } = await parts(await weight(), term, shape);
    const { a, b } = await lowRank.slots!(direction(term), shape);
    const h = ids ? ops.gather(tensor('a', a), x) : ops.gemm(x, tensor('a', a));
    const v = ops.add(await before(x), ops.gemm(h, tensor('b', b)));
    return ops.mul(v, tensor('factors', f32([factors.length], Float32Array.from(factors))));
  },
});
