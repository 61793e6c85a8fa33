import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { weightedSum } from '../vectors/sum.js';
import { noWeights } from './options.js';

export const EmaConfig = z.strictObject({
  decay: z.number().min(0).lt(1).default(0.999).meta({ description: 'Share of the slow weights that a step keeps.' }),
  debias: z.boolean().default(false).meta({ description: 'Start from zero and divide by 1 - decay^t, as Adam does.' }),
  warmup: z.boolean().default(false).meta({ description: 'Decay of step t is min(decay, (1 + t) / (10 + t)).' }),
  window: z
    .number()
    .int()
    .positive()
    .optional()
    .meta({ description: 'Instead: the plain mean of the last checkpoints.' }),
});
type Settings = z.output<typeof EmaConfig>;

/** How much each of n checkpoints counts: a moving average is one linear combination of them. */
function shares(n: number, { decay, debias, warmup, window }: Settings): number[] {
  if (window !== undefined) return Array.from({ length: n }, (_, i) => (i >= n - window ? 1 / Math.min(n, window) : 0));
  const out: number[] = [];
  for (let i = 0; i < n; i++) {
    const d = warmup ? Math.min(decay, (1 + i) / (10 + i)) : decay;
    const first = i === 0 && !debias;
    if (!first) for (let j = 0; j < i; j++) out[j] = out[j]! * d;
    out.push(first ? 1 : 1 - d);
  }
  return debias ? out.map((share) => share / (1 - decay ** n)) : out;
}

/**
 * Exponential moving average of the checkpoints of a run, in their order: s <- d s + (1 - d) θ, from the first one (the
 * base when there is one) or, with `debias`, from zero. With `window`, the mean of the last checkpoints (LAWA).
 */
export const ema = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'ema',
  paper: 'https://arxiv.org/abs/2209.14981',
  config: EmaConfig,
  base: 'optional',
  ordered: true,
  check({ weights, c, hasBase }) {
    const problems = noWeights(weights, 'use decay or window');
    const n = weights.length + (hasBase ? 1 : 0);
    if (c.window !== undefined && c.window > n)
      problems.push(`a window of ${c.window} needs as many checkpoints, not ${n}`);
    if (c.debias && c.warmup) problems.push('debias corrects a constant decay: leave out warmup');
    return problems;
  },
  combine({ base, models, c }) {
    const all = base ? [base, ...models] : models;
    return weightedSum(all, shares(all.length, c));
  },
});
