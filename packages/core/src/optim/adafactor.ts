import * as z from 'zod';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { alloc } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { defineOptimizer, epsilon, keepScalar, type State, shrink, type UpdateSite } from './optimizer.js';

const AdafactorConfig = z.strictObject({
  /** The mean squares keep 1 − t^beta2Decay of their old value at update t. */
  beta2Decay: z.number().max(0).default(-0.8),
  /** Least mean square, by its root. Default: the spacing of float32 at 1, as in torch. */
  eps1: epsilon.default(2 ** -23),
  /** Least size of a parameter that its step is relative to. */
  eps2: epsilon.default(1e-3),
  /** Updates with a larger root mean square are scaled down to it. */
  clipThreshold: z.number().positive().default(1),
});

const count = (x: ShapedValue): number => x.shape.reduce<number>((n, d) => n * Number(d), 1);
const allAxes = (x: ShapedValue): number[] => x.shape.map((_, i) => i);

/** √(mean of squares) as [1, ..., 1]. */
const rootMeanSquare = (x: ShapedValue, ops: Ops): ShapedValue =>
  ops.sqrt(ops.mul(ops.sum(ops.mul(x, x), allAxes(x)), 1 / count(x)));

/** Mean squares of the gradient, as one row and one column where it is a matrix (Algorithm 4), and their new state. */
function meanSquares(
  { g, state, scalars }: UpdateSite,
  eps1: number,
  ops: Ops,
): { estimate: ShapedValue; state: State<ShapedValue> } {
  const fresh = scalars.fresh!;
  const lerp = (old: ShapedValue, x: ShapedValue) => ops.add(old, ops.mul(ops.sub(x, old), fresh));
  const square = ops.mul(g, g);
  if (!state.row || !state.column) {
    const v = lerp(state.v!, square);
    return { estimate: v, state: { v } };
  }
  const axis = g.shape.length - 1;
  const row = lerp(state.row, ops.mean(square, [axis])); // [..., n, 1]
  const column = lerp(state.column, ops.mean(square, [axis - 1])); // [..., 1, m]
  const total = ops.max(ops.mean(row, [axis - 1]), eps1);
  return { estimate: ops.div(ops.mul(row, column), total), state: { row, column } };
}

/** Adam's second moment in the memory of a row and a column; no first moment. Steps are relative to the parameter. */
export const adafactor = defineOptimizer({
  spec: 'v1',
  name: 'adafactor',
  paper: 'https://arxiv.org/abs/1804.04235',
  config: AdafactorConfig,
  elementwise: false,
  init: (shape): State<Tensor> =>
    shape.length > 1
      ? {
          row: alloc('f32', [...shape.slice(0, -1), 1]),
          column: alloc('f32', [...shape.slice(0, -2), 1, shape.at(-1)!]),
        }
      : { v: alloc('f32', shape) },
  scalars: (group, c) => ({
    fresh: group.step ** c.beta2Decay,
    relativeStep: Math.min(group.rate, 1 / Math.sqrt(group.step)),
    ...keepScalar(group),
  }),
  update(site, c, ops) {
    const { p, g, scalars } = site;
    const alpha = ops.mul(ops.max(rootMeanSquare(p, ops), c.eps2), scalars.relativeStep!);
    const { estimate, state } = meanSquares(site, c.eps1, ops);
    const u = ops.div(g, ops.sqrt(ops.max(estimate, c.eps1 ** 2)));
    const excess = ops.max(ops.mul(rootMeanSquare(u, ops), 1 / c.clipThreshold), 1);
    return { p: ops.sub(shrink(p, scalars, ops), ops.mul(u, ops.div(alpha, excess))), state };
  },
});
