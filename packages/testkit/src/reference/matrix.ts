import { PeftError } from '@peftjs/core';
import { broadcastIndex, broadcastShape, count, type NdArray, nd, stridedIndex, strides, take } from './array.js';
import { need, type Operations } from './operation.js';

export function transpose(x: NdArray, perm: readonly number[]): NdArray {
  const own = strides(x.shape);
  const shape = perm.map((axis) => x.shape[axis]!);
  return take(
    x,
    stridedIndex(
      shape,
      perm.map((axis) => own[axis]!),
      0,
    ),
    shape,
  );
}

/** numpy's matmul: 1-D operands are promoted, leading axes broadcast. */
export function matmul(left: NdArray, right: NdArray): NdArray {
  const a = left.shape.length === 1 ? nd(left.dtype, [1, ...left.shape], left.data) : left;
  const b = right.shape.length === 1 ? nd(right.dtype, [...right.shape, 1], right.data) : right;
  const [m, k] = a.shape.slice(-2) as [number, number];
  const [k2, n] = b.shape.slice(-2) as [number, number];
  if (k !== k2)
    throw new PeftError('GRAPH_INVALID', `MatMul of [${left.shape}] and [${right.shape}]: ${k} is not ${k2}.`);
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const [ia, ib] = [broadcastIndex(a.shape.slice(0, -2), batch), broadcastIndex(b.shape.slice(0, -2), batch)];
  const out = new Float64Array(count(batch) * m * n);
  for (let g = 0; g < ia.length; g++) {
    for (let i = 0; i < m; i++) {
      const to = (g * m + i) * n;
      for (let j = 0; j < k; j++) {
        const value = a.data[(ia[g]! * m + i) * k + j]!;
        const from = (ib[g]! * k + j) * n;
        for (let c = 0; c < n; c++) out[to + c]! += value * b.data[from + c]!;
      }
    }
  }
  const rows = left.shape.length === 1 ? [] : [m];
  const columns = right.shape.length === 1 ? [] : [n];
  return nd(left.dtype, [...batch, ...rows, ...columns], out);
}

export const matrix: Operations = {
  MatMul: (inputs) => matmul(need(inputs, 0), need(inputs, 1)),

  Transpose: (inputs, attributes) => {
    const x = need(inputs, 0);
    return transpose(x, attributes.numbers('perm') ?? x.shape.map((_, axis) => x.shape.length - 1 - axis));
  },

  Gemm: (inputs, attributes) => {
    const turn = (x: NdArray, name: string) => (attributes.number(name, 0) ? transpose(x, [1, 0]) : x);
    const product = matmul(turn(need(inputs, 0), 'transA'), turn(need(inputs, 1), 'transB'));
    const alpha = attributes.number('alpha', 1);
    const beta = attributes.number('beta', 1);
    const c = inputs[2];
    const index = c && broadcastIndex(c.shape, product.shape);
    const add = (i: number) => (c && index ? beta * c.data[index[i]!]! : 0);
    return nd(
      product.dtype,
      product.shape,
      product.data.map((v, i) => alpha * v + add(i)),
    );
  },
};
