import { defineOptimizer, type Ops, type ShapedValue, zeros } from '@peftjs/core';
import * as z from 'zod';

const [beta1, beta2, eps] = [0.9, 0.999, 1e-8];

/** β·mean + (1-β)·x */
const towards = (mean: ShapedValue, x: ShapedValue, beta: number, ops: Ops): ShapedValue =>
  ops.add(ops.mul(mean, beta), ops.mul(x, 1 - beta));

/**
 * AdamW in which every tensor counts its own updates: one that an update leaves out keeps its count as it keeps its
 * moments. The means of ones `ofM` and `ofV` are 1-β₁ᵗ and 1-β₂ᵗ.
 */
export const adamwByCount = /* @__PURE__ */ defineOptimizer({
  spec: 'v1',
  name: 'adamw-by-count',
  paper: 'https://arxiv.org/abs/1711.05101',
  config: z.strictObject({}),
  elementwise: false,
  init: (shape) => ({ m: zeros(shape), v: zeros(shape), ofM: zeros([]), ofV: zeros([]) }),
  scalars: ({ rate, decay }) => ({ rate, ...(decay !== 0 && { keep: 1 - rate * decay }) }),
  update({ p, g, state, scalars }, _, ops) {
    const m = towards(state.m!, g, beta1, ops);
    const v = towards(state.v!, ops.mul(g, g), beta2, ops);
    const ofM = ops.add(ops.mul(state.ofM!, beta1), 1 - beta1);
    const ofV = ops.add(ops.mul(state.ofV!, beta2), 1 - beta2);
    const direction = ops.div(ops.div(m, ofM), ops.add(ops.sqrt(ops.div(v, ofV)), eps));
    const decayed = scalars.keep ? ops.mul(p, scalars.keep) : p;
    return { p: ops.sub(decayed, ops.mul(direction, scalars.rate!)), state: { m, v, ofM, ofV } };
  },
})();
