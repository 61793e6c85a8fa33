import { type Dim, mulDim } from '../../graph/dim.js';
import type { ShapedValue } from '../../graph/graph.js';
import type { Ops } from '../../graph/ops.js';
import { floatOf, intOf, type Rules, sumTo } from '../rule.js';

const transposed = (ops: Ops, x: ShapedValue): ShapedValue => {
  const rank = x.shape.length;
  return ops.transpose(x, [...Array(rank - 2).keys(), rank - 1, rank - 2]);
};

const rows = (ops: Ops, x: ShapedValue): ShapedValue =>
  ops.reshape(x, [x.shape.slice(0, -1).reduce(mulDim, 1 as Dim), x.shape.at(-1)!]);

export const matrixRules: Rules = {
  // dA = dY Bᵀ, dB = Aᵀ dY, each summed over the batch axes along which the operand was broadcast.
  MatMul: ({ ops, x, dy, needs }) => {
    const [a, b] = [x[0]!, x[1]!];
    const db = () =>
      b.shape.length === 2 // one product over all rows instead of a batch of products and a sum
        ? ops.gemm(rows(ops, a), rows(ops, dy), undefined, { transA: true })
        : sumTo(ops, ops.matmul(transposed(ops, a), dy), b);
    return [needs[0] ? sumTo(ops, ops.matmul(dy, transposed(ops, b)), a) : undefined, needs[1] ? db() : undefined];
  },
  // Y = α op(A) op(B) + β C
  Gemm: ({ ops, node, x, dy, needs }) => {
    const [a, b, c] = [x[0]!, x[1]!, x[2]];
    const [tA, tB] = [intOf(node, 'transA', 0) === 1, intOf(node, 'transB', 0) === 1];
    const alpha = floatOf(node, 'alpha', 1);
    const beta = floatOf(node, 'beta', 1);
    const da = () =>
      tA
        ? ops.gemm(b, dy, undefined, { alpha, transA: tB, transB: true })
        : ops.gemm(dy, b, undefined, { alpha, transB: !tB });
    const db = () =>
      tB
        ? ops.gemm(dy, a, undefined, { alpha, transA: true, transB: tA })
        : ops.gemm(a, dy, undefined, { alpha, transA: !tA });
    const dc = () => (beta === 1 ? sumTo(ops, dy, c!) : ops.mul(sumTo(ops, dy, c!), beta));
    return [needs[0] ? da() : undefined, needs[1] ? db() : undefined, c && needs[2] ? dc() : undefined];
  },
  Transpose: ({ ops, node, dy }) => {
    const attribute = node.attributes.perm;
    const perm = attribute?.type === 'ints' ? attribute.value : [...dy.shape.keys()].reverse();
    const inverse = perm.map((_, i) => perm.indexOf(i));
    return [ops.transpose(dy, inverse)];
  },
};
