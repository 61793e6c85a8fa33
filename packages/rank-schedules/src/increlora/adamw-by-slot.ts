import { defineOptimizer, type Ops, type ShapedValue, zeros } from '@peftjs/core';
import * as z from 'zod';

const beta = z.number().gt(0).lt(1);

/** β·mean + (1-β)·x */
const blend = (mean: ShapedValue, x: ShapedValue | number, decay: number, ops: Ops): ShapedValue =>
  ops.add(ops.mul(mean, decay), typeof x === 'number' ? (1 - decay) * x : ops.mul(x, 1 - decay));

/**
 * AdamW over slots (the first axis) that begin to be trained at different updates: a slot counts its own updates, and one
 * that is not live keeps its numbers and its moments. `c` and `d` hold 1-β₁ᵗ and 1-β₂ᵗ as the means of ones, which does
 * not cancel as the differences do.
 */
export const adamwBySlot = /* @__PURE__ */ defineOptimizer({
  spec: 'v1',
  name: 'adamw-by-slot',
  paper: 'https://arxiv.org/abs/1711.05101',
  config: z.strictObject({
    /** Letter of the target's tensor [slots] that is 1 for live slots. */
    live: z.string(),
    betas: z.tuple([beta, beta]).default([0.9, 0.999]),
    eps: z.number().positive().default(1e-8),
  }),
  elementwise: false,
  init(shape) {
    const slots = shape.map((extent, axis) => (axis === 0 ? extent : 1));
    return { m: zeros(shape), v: zeros(shape), c: zeros(slots), d: zeros(slots) };
  },
  scalars: ({ rate, decay }) => ({ rate, ...(decay !== 0 && { keep: 1 - rate * decay }) }),
  update({ p, g, state, scalars, beside }, { live, betas, eps }, ops) {
    const [beta1, beta2] = betas;
    const mask = ops.reshape(beside![live]!, state.c!.shape);
    const isLive = ops.greater(mask, 0);
    const kept = (next: ShapedValue, now: ShapedValue) => ops.where(isLive, next, now);
    const m = kept(blend(state.m!, g, beta1, ops), state.m!);
    const v = kept(blend(state.v!, ops.mul(g, g), beta2, ops), state.v!);
    const c = kept(blend(state.c!, 1, beta1, ops), state.c!);
    const d = kept(blend(state.d!, 1, beta2, ops), state.d!);
    // 1 in place of the 0 of a slot that was never live.
    const [biasM, biasV] = [ops.where(isLive, c, 1), ops.where(isLive, d, 1)];
    const size = ops.add(ops.sqrt(ops.div(v, biasV)), eps);
    const step = ops.mul(ops.div(ops.div(m, biasM), size), scalars.rate!);
    const decayed = scalars.keep ? ops.mul(p, scalars.keep) : p;
    return { p: kept(ops.sub(decayed, step), p), state: { m, v, c, d } };
  },
});
