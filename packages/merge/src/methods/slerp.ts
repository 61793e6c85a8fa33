import * as z from 'zod';
import type { Chunk, Source } from '../define.js';
import { defineMerge } from '../define-merge.js';
import { lerpWeights, slerpWeights } from '../vectors/sphere.js';
import { weightedSum } from '../vectors/sum.js';
import { noWeights } from './options.js';

export const SlerpConfig = z.strictObject({
  t: z.number().meta({ description: '0 is the base (or first model), 1 the other.' }),
  dotThreshold: z
    .number()
    .min(0)
    .max(1)
    .default(0.9995)
    .meta({ description: 'Above this cosine the interpolation is linear.' }),
});

/** The ends t = 0 and t = 1. */
const ends = ({ base, models }: Chunk): readonly [Float32Array, Float32Array] =>
  base ? [base, models[0]!] : [models[0]!, models[1]!];

const end =
  (which: 0 | 1): Source =>
  (chunk) =>
    ends(chunk)[which];
const [first, second] = [end(0), end(1)];

/**
 * Along the arc between two models, tensor by tensor; lengths are interpolated with the directions. NOTE: fine-tunes
 * that differ by less than 3 % have a cosine above 0.9995, so that most of their tensors are interpolated linearly.
 */
export const slerp = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'slerp',
  config: SlerpConfig,
  base: 'optional',
  models: { min: 1, max: 2 },
  ordered: true,
  check({ weights, hasBase }) {
    const wanted = hasBase ? 1 : 2;
    const count = `it takes the base and one model, or two models; there ${weights.length === 1 ? 'is' : 'are'} ${weights.length} ${hasBase ? 'beside' : 'without'} the base`;
    return [...(weights.length === wanted ? [] : [count]), ...noWeights(weights, 'use t, or nuslerp')];
  },
  stats: [
    () => ({
      first: { kind: 'dot', of: [first, first] },
      second: { kind: 'dot', of: [second, second] },
      both: { kind: 'dot', of: [first, second] },
    }),
  ],
  combine({ stats: { numbers }, c, ...chunk }) {
    const norms = Math.sqrt(numbers.first!) * Math.sqrt(numbers.second!);
    // A vector of 0 has no direction: it counts as orthogonal, as in mergekit.
    const cosine = norms > 0 ? numbers.both! / norms : 0;
    const weights = Math.abs(cosine) > c.dotThreshold ? lerpWeights(c.t) : slerpWeights(cosine, c.t, 0);
    return weightedSum(ends(chunk), weights);
  },
});
