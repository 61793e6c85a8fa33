import * as z from 'zod';
import { alloc } from '../tensor/dtype.js';
import { coefficient, defineOptimizer, epsilon, l2Scalar, withL2 } from './optimizer.js';

/** RMSprop; weight decay is added to the gradient (L2). */
export const rmsprop = defineOptimizer({
  spec: 'v1',
  name: 'rmsprop',
  paper: 'https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf',
  config: z.strictObject({
    /** How much of the old mean square stays at an update. */
    alpha: coefficient.default(0.99),
    eps: epsilon.default(1e-8),
  }),
  elementwise: true,
  init: (shape) => ({ v: alloc('f32', shape) }),
  scalars: ({ rate, decay }) => ({ rate, ...l2Scalar(decay) }),
  update(site, c, ops) {
    const g = withL2(site, ops);
    const v = ops.add(ops.mul(site.state.v!, c.alpha), ops.mul(ops.mul(g, g), 1 - c.alpha));
    const d = ops.div(g, ops.add(ops.sqrt(v), c.eps));
    return { p: ops.sub(site.p, ops.mul(d, site.scalars.rate!)), state: { v } };
  },
});

/** Adagrad; weight decay is added to the gradient (L2). */
export const adagrad = defineOptimizer({
  spec: 'v1',
  name: 'adagrad',
  paper: 'https://jmlr.org/papers/v12/duchi11a.html',
  config: z.strictObject({ eps: epsilon.default(1e-10) }),
  elementwise: true,
  init: (shape) => ({ v: alloc('f32', shape) }),
  scalars: ({ rate, decay }) => ({ rate, ...l2Scalar(decay) }),
  update(site, c, ops) {
    const g = withL2(site, ops);
    const v = ops.add(site.state.v!, ops.mul(g, g));
    const d = ops.div(g, ops.add(ops.sqrt(v), c.eps));
    return { p: ops.sub(site.p, ops.mul(d, site.scalars.rate!)), state: { v } };
  },
});
