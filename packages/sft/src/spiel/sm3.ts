import { defineOptimizer, type Ops, PeftError, type ShapedValue, zeros } from '@peftjs/core';
import * as z from 'zod';

const extent = z.number().int().positive();

/** The largest of what is there and what reaches each place. */
const raised = (old: ShapedValue, at: ShapedValue, by: ShapedValue, ops: Ops): ShapedValue =>
  ops.node('ScatterElements', [old, at, by], [old as ShapedValue & { shape: readonly number[] }], {
    axis: { type: 'int', value: 0 },
    reduction: { type: 'string', value: 'max' },
  })[0]!;

/**
 * SM3 (Anil et al. 2019, algorithm 2) over single entries of a matrix: one accumulator for each of its rows and columns.
 * ν = min(row[i], column[j]) + g², both ← their maximum with ν, p ← p - η g / √(ν + ε), then p ← p - η λ p.
 * The indices of the entries are the tensor `indices` beside the parameter.
 */
export const sm3 = /* @__PURE__ */ defineOptimizer({
  spec: 'v1',
  name: 'sm3',
  paper: 'https://arxiv.org/abs/1901.11150',
  config: z.strictObject({ rows: extent, columns: extent, indices: z.string(), eps: z.number().positive() }),
  elementwise: false,
  init: (_, { rows, columns }) => ({ row: zeros([rows]), column: zeros([columns]) }),
  scalars: ({ rate, decay }) => ({ rate, ...(decay !== 0 && { keep: 1 - rate * decay }) }),
  update({ p, g, state, scalars, beside }, { columns, indices, eps }, ops) {
    const at = beside?.[indices];
    if (!at) throw new PeftError('INTERNAL', `sm3: there is no tensor "${indices}" beside the parameter.`);
    const i = ops.div(at, columns);
    const j = ops.sub(at, ops.mul(i, columns));
    const { row, column } = state as { row: ShapedValue; column: ShapedValue };
    const nu = ops.add(ops.min(ops.gather(row, i), ops.gather(column, j)), ops.mul(g, g));
    const next = ops.sub(p, ops.mul(ops.div(g, ops.sqrt(ops.add(nu, eps))), scalars.rate!));
    return {
      p: scalars.keep ? ops.mul(next, scalars.keep) : next,
      state: { row: raised(row, i, nu, ops), column: raised(column, j, nu, ops) },
    };
  },
});
