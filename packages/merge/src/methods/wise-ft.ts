import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { weightedSum } from '../vectors/sum.js';
import { noWeights } from './options.js';

/** (1 - α) θ₀ + α θ: between a base and its fine-tuned model (Wortsman et al. 2022). */
export const wiseFt = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'wise_ft',
  paper: 'https://arxiv.org/abs/2109.01903',
  config: z.strictObject({ alpha: z.number().default(0.5).meta({ description: '0 is the base, 1 the model.' }) }),
  base: 'required',
  models: { min: 1, max: 1 },
  check: ({ weights }) => noWeights(weights, 'use alpha'),
  combine: ({ base, models, c }) => weightedSum([base!, models[0]!], [1 - c.alpha, c.alpha]),
});
