import { PeftError } from '@peftjs/core';
import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { addToBase, taskVector } from '../vectors/delta.js';
import { gramOf, gramReducers } from '../vectors/gram.js';
import { weightedSum } from '../vectors/sum.js';
import { sumProblems } from './options.js';

/**
 * The weighted mean direction with the weighted mean length, of models or of their task vectors when there is a base.
 * NOTE: mergekit goes on with a step along the sphere from that direction; the step is 0 for any weights.
 */
export const multislerp = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'multislerp',
  config: z.strictObject({
    normalizeWeights: z.boolean().default(true).meta({ description: 'Divide the weights by their sum.' }),
  }),
  base: 'optional',
  models: { min: 2 },
  check: ({ weights, c }) => (c.normalizeWeights ? sumProblems(weights) : []),
  stats: [({ weights }) => gramReducers(weights.length)],
  combine({ c, stats, weights, ...chunk }) {
    const gram = gramOf(stats);
    const total = c.normalizeWeights ? weights.reduce((sum, w) => sum + w, 0) : 1;
    const w = weights.map((weight) => weight / total);
    const norms = w.map((_, i) => Math.sqrt(gram(i, i)));
    const perUnit = w.map((weight, i) => (norms[i]! > 0 ? weight / norms[i]! : 0));
    let squared = 0;
    perUnit.forEach((a, i) => {
      perUnit.forEach((b, j) => {
        squared += a * b * gram(i, j);
      });
    });
    const length = w.reduce((sum, weight, i) => sum + weight * norms[i]!, 0);
    const isZero = norms.every((norm) => norm === 0);
    if (!isZero && !(squared > Number.EPSILON)) {
      const { tensor } = chunk;
      const problem = `multislerp: the directions of tensor "${tensor}" cancel out under weights ${weights.join(', ')}, so they have no mean: change a weight, or merge it with linear.`;
      throw new PeftError('DELTA_CONFLICT', problem, { details: { tensor, weights } });
    }
    const factor = isZero ? 0 : length / Math.sqrt(squared);
    const taus = chunk.models.map((_, i) => taskVector(chunk, i));
    const merged = weightedSum(
      taus,
      perUnit.map((share) => factor * share),
    );
    return chunk.base ? addToBase(chunk.base, merged) : merged;
  },
});
