import { PeftError } from '../../errors.js';
import { broadcast } from '../dim.js';
import type { ShapedValue } from '../graph.js';
import { type Builder, float, int, ints } from './builder.js';

export interface GemmOptions {
  readonly alpha?: number;
  readonly beta?: number;
  readonly transA?: boolean;
  readonly transB?: boolean;
}

export function matrix(b: Builder) {
  return {
    /** [..., m, k] x [..., k, n] -> [..., m, n], leading axes broadcast. */
    matmul(x: ShapedValue, y: ShapedValue): ShapedValue {
      const [p, q] = [x.shape, y.shape];
      if (p.length < 2 || q.length < 2 || p.at(-1) !== q.at(-2))
        throw new PeftError('GRAPH_INVALID', `MatMul: [${p}] ("${x.name}") against [${q}] ("${y.name}").`);
      const lead = broadcast(p.slice(0, -2), q.slice(0, -2), 'MatMul');
      return b.emit('MatMul', [x, y], x.dtype, [...lead, p.at(-2)!, q.at(-1)!]);
    },
    /** alpha op(x) op(y) + beta c over 2-D values; c broadcasts to the result. */
    gemm(x: ShapedValue, y: ShapedValue, c?: ShapedValue, options: GemmOptions = {}): ShapedValue {
      const { alpha = 1, beta = 1, transA = false, transB = false } = options;
      const [m, k] = transA ? [x.shape[1], x.shape[0]] : x.shape;
      const [k2, n] = transB ? [y.shape[1], y.shape[0]] : y.shape;
      if (x.shape.length !== 2 || y.shape.length !== 2 || k !== k2)
        throw new PeftError(
          'GRAPH_INVALID',
          `Gemm: [${x.shape}]${transA ? 'ᵀ' : ''} ("${x.name}") against [${y.shape}]${transB ? 'ᵀ' : ''} ("${y.name}").`,
        );
      if (c) broadcast([m!, n!], c.shape, 'Gemm');
      const attributes = {
        ...(alpha !== 1 && { alpha: float(alpha) }),
        ...(beta !== 1 && c && { beta: float(beta) }),
        ...(transA && { transA: int(1) }),
        ...(transB && { transB: int(1) }),
      };
      return b.emit('Gemm', c ? [x, y, c] : [x, y], x.dtype, [m!, n!], attributes);
    },
    transpose(x: ShapedValue, perm: readonly number[]): ShapedValue {
      if (perm.length !== x.shape.length || new Set(perm).size !== perm.length)
        throw new PeftError('GRAPH_INVALID', `Transpose: [${perm}] is no permutation of the axes of [${x.shape}].`);
      return b.emit(
        'Transpose',
        [x],
        x.dtype,
        perm.map((i) => x.shape[i]!),
        { perm: ints(perm) },
      );
    },
  };
}
