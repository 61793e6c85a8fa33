import { defineOptimizer, f32, type Ops, type ShapedValue, zeros } from '@peftjs/core';
import * as z from 'zod';

const beta = z.number().gt(0).lt(1);

/** 1 - βᵃ = 2 τ / (1 + τ) with τ = tanh(-a ln β / 2): the difference itself would cancel in float32 where βᵃ is near 1. */
function corrected(age: ShapedValue, decay: number, ops: Ops): ShapedValue {
  const t = ops.tanh(ops.mul(age, -Math.log(decay) / 2));
  return ops.div(ops.mul(t, 2), ops.add(t, 1));
}

/**
 * AdamW in which every number has an age of its own, for the corrections of its moments: coordinates come and go.
 * m ← β₁ m + (1-β₁) g, v ← β₂ v + (1-β₂) g², p ← p - η m √(1-β₂ᵃ) / ((√v + ε) (1-β₁ᵃ)), then p ← p - η λ p.
 */
export const adamwByAge = /* @__PURE__ */ defineOptimizer({
  spec: 'v1',
  name: 'adamw-by-age',
  paper: 'https://arxiv.org/abs/2401.16405',
  config: z.strictObject({ betas: z.tuple([beta, beta]), eps: z.number().positive() }),
  elementwise: true,
  init: (shape) => ({ m: zeros(shape), v: zeros(shape), age: f32(shape, zeros(shape).data.fill(1)) }),
  scalars: ({ rate, decay }) => ({ rate, ...(decay !== 0 && { keep: 1 - rate * decay }) }),
  update({ p, g, state, scalars }, { betas: [beta1, beta2], eps }, ops) {
    const m = ops.add(ops.mul(state.m!, beta1), ops.mul(g, 1 - beta1));
    const v = ops.add(ops.mul(state.v!, beta2), ops.mul(ops.mul(g, g), 1 - beta2));
    const age = state.age!;
    const size = ops.mul(ops.add(ops.sqrt(v), eps), corrected(age, beta1, ops));
    const step = ops.div(ops.mul(m, ops.sqrt(corrected(age, beta2, ops))), size);
    const next = ops.sub(p, ops.mul(step, scalars.rate!));
    return { p: scalars.keep ? ops.mul(next, scalars.keep) : next, state: { m, v, age: ops.add(age, 1) } };
  },
});
