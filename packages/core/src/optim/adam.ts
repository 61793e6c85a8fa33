import * as z from 'zod';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { alloc } from '../tensor/dtype.js';
import {
  coefficient,
  defineOptimizer,
  epsilon,
  type GroupStep,
  keepScalar,
  l2Scalar,
  shrink,
  type UpdateSite,
  withL2,
} from './optimizer.js';

const moments = {
  /** How much of the old mean of the gradient, and of its square, stays at an update. */
  betas: z.tuple([coefficient, coefficient]).default([0.9, 0.999]),
  eps: epsilon.default(1e-8),
  /** Divides by the largest second moment so far. */
  amsgrad: z.boolean().default(false),
};

const AdamWConfig = z.strictObject({
  ...moments,
  /**
   * Where eps enters: `after` the bias correction of the second moment, as in torch, or `before` it, which makes eps
   * larger in the first updates (PEFT's LoRA-FA optimizer).
   */
  epsPlacement: z.enum(['after', 'before']).default('after'),
  /** Whether the parameter decays `before` the step, as in torch, or `after` it (PEFT's LoRA-FA optimizer). */
  decayPlacement: z.enum(['before', 'after']).default('before'),
});

const AdamConfig = z.strictObject(moments);

type MomentsConfig = z.output<typeof AdamConfig>;

const init = (shape: readonly number[], { amsgrad }: MomentsConfig) => ({
  m: alloc('f32', shape),
  v: alloc('f32', shape),
  ...(amsgrad && { vmax: alloc('f32', shape) }),
});

/** rate/(1−β1ᵗ) and 1/√(1−β2ᵗ): Adam's corrections for moments that start at zero. */
const corrections = ({ step, rate }: GroupStep, [beta1, beta2]: readonly [number, number]) => ({
  stepSize: rate / (1 - beta1 ** step),
  inverseRoot: 1 / Math.sqrt(1 - beta2 ** step),
});

/** β·mean + (1−β)·x */
const blend = (mean: ShapedValue, x: ShapedValue, beta: number, ops: Ops) =>
  ops.add(ops.mul(mean, beta), ops.mul(x, 1 - beta));

/** Algorithm 1 of Adam without its last line: the new moments, and the direction m/(√v̂ + eps). */
function direction(site: UpdateSite, g: ShapedValue, c: MomentsConfig, epsBefore: boolean, ops: Ops) {
  const [beta1, beta2] = c.betas;
  const m = blend(site.state.m!, g, beta1, ops);
  const v = blend(site.state.v!, ops.mul(g, g), beta2, ops);
  const vmax = site.state.vmax && ops.max(site.state.vmax, v);
  const root = ops.sqrt(vmax ?? v);
  const scale = site.scalars.inverseRoot!;
  const denominator = epsBefore ? ops.mul(ops.add(root, c.eps), scale) : ops.add(ops.mul(root, scale), c.eps);
  return { d: ops.div(m, denominator), state: { m, v, ...(vmax && { vmax }) } };
}

/** Adam with weight decay apart from the gradient. */
export const adamw = defineOptimizer({
  spec: 'v1',
  name: 'adamw',
  paper: 'https://arxiv.org/abs/1711.05101',
  config: AdamWConfig,
  elementwise: true,
  init,
  scalars: (group, c) => ({ ...corrections(group, c.betas), ...keepScalar(group) }),
  update(site, c, ops) {
    const decayed = c.decayPlacement === 'before' ? shrink(site.p, site.scalars, ops) : site.p;
    const { d, state } = direction(site, site.g, c, c.epsPlacement === 'before', ops);
    const stepped = ops.sub(decayed, ops.mul(d, site.scalars.stepSize!));
    return { p: c.decayPlacement === 'after' ? shrink(stepped, site.scalars, ops) : stepped, state };
  },
});

/** Adam; weight decay is added to the gradient (L2). */
export const adam = defineOptimizer({
  spec: 'v1',
  name: 'adam',
  paper: 'https://arxiv.org/abs/1412.6980',
  config: AdamConfig,
  elementwise: true,
  init,
  scalars: (group, c) => ({ ...corrections(group, c.betas), ...l2Scalar(group.decay) }),
  update(site, c, ops) {
    const { d, state } = direction(site, withL2(site, ops), c, false, ops);
    return { p: ops.sub(site.p, ops.mul(d, site.scalars.stepSize!)), state };
  },
});
