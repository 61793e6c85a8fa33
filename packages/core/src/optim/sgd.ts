import * as z from 'zod';
import type { ShapedValue } from '../graph/graph.js';
import { alloc } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { coefficient, defineOptimizer, l2Scalar, type State, withL2 } from './optimizer.js';

const SgdConfig = z
  .strictObject({
    /** How much of the last update's direction stays; 0 keeps no state. */
    momentum: coefficient.default(0),
    /** Looks one step ahead along the momentum. */
    nesterov: z.boolean().default(false),
  })
  .refine((c) => !c.nesterov || c.momentum > 0, { path: ['nesterov'], message: 'needs a momentum above 0' });

/** Gradient descent; weight decay is added to the gradient (L2). */
export const sgd = defineOptimizer({
  spec: 'v1',
  name: 'sgd',
  paper: 'https://proceedings.mlr.press/v28/sutskever13.html',
  config: SgdConfig,
  elementwise: true,
  init: (shape, c): State<Tensor> => (c.momentum > 0 ? { m: alloc('f32', shape) } : {}),
  scalars: ({ rate, decay }) => ({ rate, ...l2Scalar(decay) }),
  update(site, c, ops) {
    const g = withL2(site, ops);
    const m = site.state.m && ops.add(ops.mul(site.state.m, c.momentum), g);
    const d = m ? (c.nesterov ? ops.add(g, ops.mul(m, c.momentum)) : m) : g;
    const state: State<ShapedValue> = m ? { m } : {};
    return { p: ops.sub(site.p, ops.mul(d, site.scalars.rate!)), state };
  },
});
