import {
  elementCount,
  indexRef,
  numbersOf,
  type Ops,
  type Params,
  type ShapedValue,
  sparseTerm,
  type Tensor,
  type Term,
  tensorRef,
} from '@peftjs/core';

/** Letter of the flat, row-major indices of the changes of a parameter; the parameter's own name is that of its values. */
export const indicesOf = (name: string): string => `${name}.indices`;

/**
 * W + φ, where φ has `values` [k] at the flat `indices` i64 [k] of W and is zero elsewhere: only these numbers move,
 * whatever the optimizer does, and the gradient of a value is that of its element of W.
 */
export function patched(W: ShapedValue, indices: ShapedValue, values: ShapedValue, ops: Ops): ShapedValue {
  const flat = ops.reshape(W, [elementCount(W.shape.map(Number))]);
  return ops.reshape(ops.scatterAdd(flat, indices, values), W.shape);
}

/** What is saved of a parameter. @param p values and ascending indices of `name` */
export const savedTerm = (p: Params<Tensor>, name: string, shape: readonly number[]): Term =>
  sparseTerm({
    indices: indexRef(numbersOf(p[indicesOf(name)]!), elementCount(shape)),
    values: tensorRef(p[name]!),
  });
