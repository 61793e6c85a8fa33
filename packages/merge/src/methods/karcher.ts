import { PeftError } from '@peftjs/core';
import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { type Gram, gramOf, gramReducers } from '../vectors/gram.js';
import { weightedSum } from '../vectors/sum.js';

export const KarcherConfig = z.strictObject({
  maxIter: z.number().int().positive().default(10).meta({ description: 'Most steps towards the mean.' }),
  tol: z.number().positive().default(1e-5).meta({ description: 'A shorter step ends the search.' }),
});

const dot = (gram: Gram, a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + b.reduce((inner, y, j) => inner + x * y * gram(i, j), 0), 0);

/**
 * The mean on the sphere of unit vectors vᵢ / ‖vᵢ‖ with shares α, as coefficients of the vᵢ: every iterate is a linear
 * combination of them, so their inner products are all that is needed. Undefined where the vᵢ cancel out.
 */
function karcherMean(gram: Gram, alpha: readonly number[], maxIter: number, tol: number): number[] | undefined {
  const units = alpha.map((_, i) => alpha.map((_, j) => (i === j ? 1 / Math.sqrt(gram(i, i)) : 0)));
  const scaled = (a: readonly number[], factor: number) => a.map((x) => x * factor);
  const plus = (a: readonly number[], b: readonly number[]) => a.map((x, i) => x + b[i]!);
  const unit = (a: readonly number[]) => scaled(a, 1 / Math.sqrt(dot(gram, a, a)));
  const none = alpha.map(() => 0);
  const mean = units.reduce((sum, v, i) => plus(sum, scaled(v, alpha[i]!)), none);
  if (Math.sqrt(Math.max(0, dot(gram, mean, mean))) < tol) return undefined;
  let u = unit(mean);
  for (let step = 0; step < maxIter; step++) {
    let tangent = none;
    units.forEach((v, i) => {
      const cos = Math.min(1, Math.max(-1, dot(gram, u, v)));
      const theta = Math.acos(cos);
      // At the point itself there is nothing to add; opposite to it every direction would do.
      if (theta < tol || Math.PI - theta < tol) return;
      const log = scaled(plus(v, scaled(u, -cos)), theta / Math.sin(theta));
      tangent = plus(tangent, scaled(log, alpha[i]!));
    });
    const length = Math.sqrt(Math.max(0, dot(gram, tangent, tangent)));
    if (length < tol) break;
    u = unit(plus(scaled(u, Math.cos(length)), scaled(tangent, Math.sin(length) / length)));
  }
  return u;
}

/** The Karcher mean of the models' directions, tensor by tensor, with their mean length. Weights are normalised shares. */
export const karcher = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'karcher',
  config: KarcherConfig,
  base: 'none',
  check: ({ weights }) => (weights.every((w) => w > 0) ? [] : ['weights are shares of a mean: give positive ones']),
  stats: [({ weights }) => gramReducers(weights.length)],
  combine({ tensor, models, weights, stats, c }) {
    const gram = gramOf(stats);
    const kept = models.map((_, i) => i).filter((i) => gram(i, i) > 0);
    if (kept.length === 0) return new Float32Array(models[0]!.length);
    const total = kept.reduce((sum, i) => sum + weights[i]!, 0);
    const alpha = kept.map((i) => weights[i]! / total);
    const among: Gram = (i, j) => gram(kept[i]!, kept[j]!);
    const length = alpha.reduce((sum, share, i) => sum + share * Math.sqrt(among(i, i)), 0);
    const u = karcherMean(among, alpha, c.maxIter, c.tol);
    if (!u) {
      const problem = `karcher: the directions of tensor "${tensor}" cancel out, so they have no mean: change a weight, or merge it with linear.`;
      throw new PeftError('DELTA_CONFLICT', problem, { details: { tensor, weights } });
    }
    return weightedSum(
      kept.map((i) => models[i]!),
      u.map((coefficient) => coefficient * length),
    );
  },
});
