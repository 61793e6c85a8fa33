import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { weightedSum } from '../vectors/sum.js';
import { normalize, sumProblems } from './options.js';

/** Σ wᵢ θᵢ, divided by Σ wᵢ unless told otherwise. Sums in float64, rounded once. */
export const linear = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'linear',
  paper: 'https://arxiv.org/abs/2203.05482',
  config: z.strictObject({ normalize: normalize.default(true) }),
  base: 'none',
  check: ({ weights, c }) => (c.normalize ? sumProblems(weights) : []),
  combine({ models, weights, c }) {
    const total = c.normalize ? weights.reduce((sum, weight) => sum + weight, 0) : 1;
    return weightedSum(
      models,
      weights.map((weight) => weight / total),
    );
  },
});
