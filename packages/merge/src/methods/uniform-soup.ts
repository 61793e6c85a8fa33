import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { weightedSum } from '../vectors/sum.js';
import { noWeights } from './options.js';

/** The mean of all models (Wortsman et al. 2022, recipe "uniform"); list the base as a model to have it in. */
export const uniformSoup = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'uniform_soup',
  paper: 'https://arxiv.org/abs/2203.05482',
  config: z.strictObject({}),
  base: 'none',
  check: ({ weights }) => noWeights(weights, 'use linear'),
  combine: ({ models }) =>
    weightedSum(
      models,
      models.map(() => 1 / models.length),
    ),
});
