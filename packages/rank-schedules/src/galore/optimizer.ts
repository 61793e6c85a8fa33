import { defineOptimizer, zeros } from '@peftjs/core';
import * as z from 'zod';
import { projectedShape, projectsRows } from './projector.js';

const beta = z.number().min(0).lt(1);

/**
 * Adam on the projected gradient (Zhao et al. 2024, algorithm 2): R = Pᵀ G (or G P), M and V of R,
 * W ← W - η α P M̂ / (√V̂ + ε). The moments have the size of R. P is the target's tensor of letter `projector`.
 */
export const projectedAdamw = /* @__PURE__ */ defineOptimizer({
  spec: 'v1',
  name: 'projected-adamw',
  paper: 'https://arxiv.org/abs/2403.03507',
  config: z.strictObject({
    r: z.number().int().positive(),
    scale: z.number().positive(),
    betas: z.tuple([beta, beta]),
    eps: z.number().positive(),
    projector: z.string(),
  }),
  elementwise: false,
  init(shape, { r }) {
    const projected = projectedShape(shape, r);
    return { m: zeros(projected), v: zeros(projected) };
  },
  scalars: ({ step, rate, decay }, { betas: [beta1, beta2], scale }) => ({
    stepSize: (rate * scale) / (1 - beta1 ** step),
    inverseRoot: 1 / Math.sqrt(1 - beta2 ** step),
    ...(decay !== 0 && { keep: 1 - rate * decay }),
  }),
  update({ p, g, state, scalars, beside }, { betas: [beta1, beta2], eps, projector }, ops) {
    const P = beside![projector]!;
    const rows = projectsRows(p.shape.map(Number));
    const R = rows ? ops.matmul(ops.transpose(P, [1, 0]), g) : ops.matmul(g, P);
    const m = ops.add(ops.mul(state.m!, beta1), ops.mul(R, 1 - beta1));
    const v = ops.add(ops.mul(state.v!, beta2), ops.mul(ops.mul(R, R), 1 - beta2));
    const N = ops.div(m, ops.add(ops.mul(ops.sqrt(v), scalars.inverseRoot!), eps));
    const back = rows ? ops.matmul(P, N) : ops.gemm(N, P, undefined, { transB: true });
    const decayed = scalars.keep ? ops.mul(p, scalars.keep) : p;
    return { p: ops.sub(decayed, ops.mul(back, scalars.stepSize!)), state: { m, v } };
  },
});
