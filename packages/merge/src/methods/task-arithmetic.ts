import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { taskVectorFamily } from '../vectors/family.js';
import { lambda, normalize } from './options.js';

const TaskArithmeticConfig = z.strictObject({ lambda, normalize: normalize.default(false) });

/** θ₀ + λ Σ wᵢ τᵢ (Ilharco et al. 2023). A negative weight or λ forgets; weights -1, 1, 1 make an analogy. */
export const taskArithmetic = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'task_arithmetic',
  paper: 'https://arxiv.org/abs/2212.04089',
  config: TaskArithmeticConfig,
  base: 'required',
  ...taskVectorFamily<z.output<typeof TaskArithmeticConfig>>(({ c }) => ({
    rule: { divide: c.normalize ? 'weights' : 'none' },
    lambda: c.lambda,
  })),
});
