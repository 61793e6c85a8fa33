import type { Dim } from '@peftjs/core';
import type { Case } from './case.js';

const matmul = (name: string, a: readonly Dim[], b: readonly Dim[]): Case => ({
  name: `matmul ${name}`,
  inputs: { a: { shape: a }, b: { shape: b } },
  build: (ops, inputs) => ops.matmul(inputs.a!, inputs.b!),
});

const gemm = (transA: boolean, transB: boolean, c: readonly Dim[] | undefined, alpha = 1, beta = 1): Case => ({
  name: `gemm ${transA ? 'Aᵀ' : 'A'}${transB ? 'Bᵀ' : 'B'} ${c ? `+ C [${c}]` : ''} alpha ${alpha} beta ${beta}`,
  inputs: {
    a: { shape: transA ? [4, 'batch'] : ['batch', 4] },
    b: { shape: transB ? [3, 4] : [4, 3] },
    ...(c && { c: { shape: c } }),
  },
  build: (ops, inputs) => ops.gemm(inputs.a!, inputs.b!, inputs.c, { transA, transB, alpha, beta }),
});

export const matrixCases: readonly Case[] = [
  matmul('of matrices', ['batch', 4], [4, 3]),
  matmul('of a batch by a matrix', ['batch', 'length', 4], [4, 3]),
  matmul('of a matrix by a batch', ['length', 4], ['batch', 4, 3]),
  matmul('of batches', ['batch', 2, 'length', 4], ['batch', 2, 4, 'length']),
  matmul('broadcast on the left', [1, 2, 'length', 4], ['batch', 1, 4, 3]),
  matmul('broadcast on the right', ['batch', 2, 'length', 4], [2, 4, 3]),
  gemm(false, true, [3]),
  gemm(false, false, undefined, 0.5),
  gemm(true, false, ['batch', 3], 2, 0.25),
  gemm(true, true, ['batch', 1], -1, 3),
  gemm(false, true, []),
  {
    name: 'transpose',
    inputs: { x: { shape: ['batch', 2, 'length', 3] } },
    build: (ops, { x }) => ops.transpose(x!, [2, 0, 3, 1]),
  },
  {
    name: 'one weight in two layers',
    inputs: { x: { shape: ['batch', 4] }, w: { shape: [4, 4], fill: { from: -0.5, to: 0.5 } } },
    build: (ops, { x, w }) => ops.gemm(ops.tanh(ops.gemm(x!, w!, undefined, { transB: true })), w!),
  },
  {
    name: 'a low-rank change beside a weight',
    inputs: {
      x: { shape: ['batch*length', 4] },
      tokens: { dtype: 'i64', shape: ['batch', 'length'], fill: { below: 5 } },
      w: { shape: [3, 4], frozen: true },
      a: { shape: [2, 4] },
      b: { shape: [3, 2] },
    },
    build: (ops, { x, w, a, b }) => {
      const base = ops.gemm(x!, w!, undefined, { transB: true });
      const low = ops.gemm(ops.gemm(x!, a!, undefined, { transB: true }), b!, undefined, { transB: true });
      return ops.add(base, ops.mul(low, 2));
    },
  },
];
