import type { Case } from './case.js';

export const networkCases: readonly Case[] = [
  {
    name: 'sum, mean and max over axes',
    inputs: { x: { shape: ['batch', 3, 4] } },
    build: (ops, { x }) => [
      ops.sum(x!, [1]),
      ops.sum(x!, [0, 2], { keepdims: false }),
      ops.mean(x!, [-1], { keepdims: false }),
      ops.mean(x!, [0, 1]),
      ops.maxOver(x!, [2]),
      ops.maxOver(x!, [1], { keepdims: false }),
    ],
  },
  {
    name: 'argmax',
    forwardOnly: true,
    inputs: { x: { shape: ['batch', 5] } },
    build: (ops, { x }) => [ops.argmax(x!, 1), ops.argmax(x!, 0)],
  },
  {
    name: 'softmax over the last and a middle axis',
    inputs: { x: { shape: ['batch', 3, 4] } },
    build: (ops, { x }) => [ops.softmax(x!), ops.softmax(x!, 1)],
  },
  {
    name: 'attention of scores over values',
    inputs: { scores: { shape: ['batch', 2, 3, 'length'] }, v: { shape: ['batch', 2, 'length', 4] } },
    build: (ops, { scores, v }) => ops.attend(scores!, v!),
  },
  {
    name: 'log softmax of large numbers',
    inputs: { x: { shape: ['batch', 4], fill: { from: 90, to: 100 } } },
    build: (ops, { x }) => ops.logSoftmax(x!),
  },
  {
    name: 'layer normalization',
    inputs: { x: { shape: ['batch', 'length', 6] }, scale: { shape: [6] }, bias: { shape: [6] } },
    build: (ops, { x, scale, bias }) => ops.layerNorm(x!, scale!, bias!, 1e-5),
  },
  {
    name: 'root mean square normalization',
    inputs: { x: { shape: ['batch', 'length', 6] }, scale: { shape: [6] } },
    build: (ops, { x, scale }) => ops.rmsNorm(x!, scale!, 1e-6),
  },
  {
    name: 'rotary embedding',
    inputs: {
      x: { shape: ['batch', 2, 'length', 8] },
      cos: { shape: ['batch', 'length', 4], frozen: true },
      sin: { shape: ['batch', 'length', 4], frozen: true },
    },
    build: (ops, { x, cos, sin }) => ops.rotary(x!, cos!, sin!),
  },
  {
    name: 'cross entropy with ignored labels',
    inputs: {
      logits: { shape: ['batch', 5] },
      labels: { dtype: 'i64', shape: ['batch'], fill: { values: [3, -100, 0, 4, 1] } },
      weight: { shape: [], fill: { values: [0.25] }, frozen: true },
    },
    build: (ops, { logits, labels, weight }) => ops.crossEntropy(logits!, labels!, weight!),
  },
  {
    name: 'attention under a mask',
    inputs: {
      x: { shape: ['batch', 'length', 8], fill: { from: -1, to: 1 } },
      wq: { shape: [8, 8], fill: { from: -0.6, to: 0.6 } },
      wk: { shape: [8, 8], fill: { from: -0.6, to: 0.6 } },
      mask: { dtype: 'i64', shape: ['batch', 'length'], fill: { values: [1, 1, 0, 1] } },
    },
    build: (ops, { x, wq, wk, mask }) => {
      const rows = ops.reshape(x!, ['batch*length', 8]);
      const heads = (w: typeof rows) =>
        ops.transpose(
          ops.reshape(ops.gemm(rows, w, undefined, { transB: true }), ['batch', 'length', 2, 4]),
          [0, 2, 1, 3],
        );
      const scores = ops.mul(ops.matmul(heads(wq!), ops.transpose(heads(wk!), [0, 1, 3, 2])), 0.5);
      const seen = ops.equal(ops.unsqueeze(mask!, [1, 2]), ops.unsqueeze(mask!, [1, 3]));
      const attention = ops.softmax(ops.where(seen, scores, -1e9));
      return ops.reshape(ops.transpose(ops.matmul(attention, heads(wq!)), [0, 2, 1, 3]), ['batch*length', 8]);
    },
  },
];
