import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { noWeights } from './options.js';

/** Keeps differences from being divided by 0. */
const smallest = 1e-6;

/** Moves the base to the model where they are near: ω = t / |θ₀ - θ| within 0..1, θ₀ + ω (θ - θ₀). */
export const nearswap = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'nearswap',
  config: z.strictObject({
    t: z.number().nonnegative().meta({ description: 'Differences up to this are taken over in full.' }),
  }),
  base: 'required',
  models: { min: 1, max: 1 },
  check: ({ weights }) => noWeights(weights, 'use t'),
  combine({ base, models, c }) {
    const model = models[0]!;
    return model.map((x, j) => {
      const b = base![j]!;
      const omega = Math.min(1, c.t / Math.max(Math.abs(b - x), smallest));
      return omega * x + (1 - omega) * b;
    });
  },
});
