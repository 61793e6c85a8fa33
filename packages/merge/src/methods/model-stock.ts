import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { scale } from '../kernels/index.js';
import { addToBase, taskVector } from '../vectors/delta.js';
import { eachFibre } from '../vectors/fibres.js';
import { cosine, type Gram, gramOf, gramOfVectors, gramReducers } from '../vectors/gram.js';
import { weightedSum } from '../vectors/sum.js';
import { noWeights } from './options.js';

export const ModelStockConfig = z.strictObject({
  filterWise: z
    .boolean()
    .default(false)
    .meta({ description: 'A ratio for each row (last axis) instead of each tensor.' }),
  clamp: z.boolean().default(true).meta({
    description: 'Keep the ratio within 0..1; mergekit does not, and overshoots past the base where updates oppose.',
  }),
  normsAtLeast: z.number().nonnegative().default(0).meta({
    description: 'Take smaller products of two norms for this one; mergekit has 1e-6, which shrinks small updates.',
  }),
  pool: z.enum(['cosines', 'angles']).default('cosines').meta({
    description: 'With three models and more: average the pairwise cosines (mergekit) or angles (fusion_bench).',
  }),
});
type Settings = z.output<typeof ModelStockConfig>;

/** The cosine of two task vectors. One of 0 counts as parallel, and as orthogonal where norms have a floor. */
function cosineOf(gram: Gram, i: number, j: number, { normsAtLeast: least }: Settings): number {
  const norms = Math.sqrt(gram(i, i)) * Math.sqrt(gram(j, j));
  return norms < least ? gram(i, j) / least : (cosine(gram, i, j) ?? 1);
}

/** The pairwise angles of n task vectors as one cosine. */
function pooledCosine(gram: Gram, n: number, c: Settings): number {
  const { pool } = c;
  let sum = 0;
  let pairs = 0;
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) {
      const cos = cosineOf(gram, i, j, c);
      sum += pool === 'angles' ? Math.acos(cos) : cos;
      pairs++;
    }
  return pool === 'angles' ? Math.cos(sum / pairs) : sum / pairs;
}

/** t = N cos θ / (1 + (N - 1) cos θ): Jang et al. 2024, eq. 4. */
function ratio(gram: Gram, n: number, c: Settings): { t: number; outside: boolean } {
  const cos = pooledCosine(gram, n, c);
  const below = 1 + (n - 1) * cos;
  const t = cos <= 0 && c.clamp ? 0 : (n * cos) / below;
  return { t: c.clamp ? Math.min(1, Math.max(0, t)) : t, outside: cos < 0 };
}

/**
 * The point between base and mean that is nearest to the centre of the fine-tuned models, told from the angles between
 * their updates. NOTE: mergekit does not clamp the ratio and takes norm products below 1e-6 for 1e-6; its recipes do so here
 * (`clamp`, `normsAtLeast`), a method by name is exact.
 */
export const modelStock = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'model_stock',
  paper: 'https://arxiv.org/abs/2403.19522',
  config: ModelStockConfig,
  base: 'required',
  models: { min: 2 },
  check: ({ weights }) => noWeights(weights, 'the angles between the updates decide'),
  pieces: ({ filterWise }) => (filterWise ? 'rows' : 'elements'),
  stats: [({ c, weights }) => (c.filterWise ? {} : gramReducers(weights.length))],
  combine({ c, stats, warn, ...chunk }) {
    const n = chunk.models.length;
    const taus = chunk.models.map((_, i) => taskVector(chunk, i));
    const mean = weightedSum(
      taus,
      taus.map(() => 1 / n),
    );
    let opposed = 0;
    const scaled = (gram: Gram): number => {
      const { t, outside } = ratio(gram, n, c);
      if (outside) opposed++;
      return t;
    };
    if (c.filterWise)
      eachFibre(chunk.shape, -1, mean.length, (indices) => {
        const t = scaled(gramOfVectors(taus.map((tau) => Float64Array.from(indices, (j) => tau[j]!))));
        for (const j of indices) mean[j] = t * mean[j]!;
      });
    else scale(mean, scaled(gramOf(stats)));
    const what = c.clamp ? 'the base is kept there' : 'the result lies beyond the base';
    if (opposed > 0 && (c.filterWise || chunk.offset === 0))
      warn(`the updates point apart${c.filterWise ? ` in ${opposed} rows` : ''}: ${what}`);
    return addToBase(chunk.base!, mean);
  },
});
