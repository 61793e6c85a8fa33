import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { uniformDraws } from '../draws.js';
import { taskVectorFamily } from '../vectors/family.js';
import { eachFibre } from '../vectors/fibres.js';
import { consensus, density, lambda, normalize } from './options.js';

export const DellaConfig = z.strictObject({
  variant: z.enum(['mergekit', 'paper']).default('mergekit').meta({
    description:
      "Whose definition: paper divides each kept element by its probability; mergekit restores the tensor's L1 norm instead.",
  }),
  density: density.default(1),
  epsilon: z.number().nonnegative().optional().meta({
    description: 'Probabilities run from density - epsilon to density + epsilon; default 0.15 (paper: 0.05).',
  }),
  probabilities: z.enum(['row', 'tensor', 'value']).default('row').meta({
    description: 'By the rank of |τ| in its row, by the rank in the whole tensor, or linear in |τ| within the row.',
  }),
  lambda,
  rescale: z.boolean().default(true).meta({ description: 'Make up for what was dropped.' }),
  consensus: consensus.default('total'),
  normalize: normalize
    .optional()
    .meta({ description: 'Divide by the weights that agree; default true with a consensus.' }),
});
type Settings = z.output<typeof DellaConfig>;

const epsilonOf = ({ epsilon, variant }: Settings): number => epsilon ?? (variant === 'paper' ? 0.05 : 0.15);

/** Keeps the value form finite where a row's magnitudes are all equal. */
const noSpread = 1e-7;

/** Where |x| lies among its row, from 0 (smallest) to 1: by rank, equal ones in their order; ½ in a row of one. */
function byRank(magnitudes: Float64Array): Float64Array {
  const n = magnitudes.length;
  if (n === 1) return Float64Array.of(0.5);
  const order = Uint32Array.from({ length: n }, (_, j) => j).sort((a, b) => magnitudes[a]! - magnitudes[b]! || a - b);
  const place = new Float64Array(n);
  order.forEach((j, rank) => {
    place[j] = rank / (n - 1);
  });
  return place;
}

function byValue(magnitudes: Float64Array): Float64Array {
  const smallest = magnitudes.reduce((a, b) => Math.min(a, b));
  const largest = magnitudes.reduce((a, b) => Math.max(a, b));
  return magnitudes.map((x) => (x - smallest) / (largest - smallest + noSpread));
}

/**
 * MagPrune (Deep et al. 2024): drop at random, large elements less often, then merge. A row runs along the second axis;
 * a tensor of one axis is one row, and in a row of one element the density itself is its probability.
 */
export const della = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'della',
  paper: 'https://arxiv.org/abs/2406.11617',
  config: DellaConfig,
  perModel: ['density', 'epsilon'],
  base: 'required',
  check: ({ each }) =>
    each.flatMap((own, i) => {
      const epsilon = epsilonOf(own);
      const [low, high] = [own.density - epsilon, own.density + epsilon];
      // With density 1 nothing is to be dropped.
      if (own.density === 1 || (low > 0 && high < 1)) return [];
      return [
        `model ${i}: probabilities from ${low} to ${high} (density -/+ epsilon) leave 0..1: choose epsilon below ${Math.min(own.density, 1 - own.density)}`,
      ];
    }),
  pieces: ({ probabilities }) => (probabilities === 'tensor' ? 'tensor' : 'rows'),
  ...taskVectorFamily<Settings>(({ c, each, rng, ids, shape }) => ({
    sparsify(tau, { chunk, i }) {
      const own = each[i]!;
      if (own.density === 1) return;
      const [low, width] = [own.density - epsilonOf(own), 2 * epsilonOf(own)];
      const draws = uniformDraws(rng, ids[i]!, chunk.offset, tau.length);
      const place = c.probabilities === 'value' ? byValue : byRank;
      eachFibre(c.probabilities === 'tensor' ? [tau.length] : shape, 1, tau.length, (indices) => {
        const places = place(Float64Array.from(indices, (j) => Math.abs(tau[j]!)));
        indices.forEach((j, n) => {
          const p = low + width * places[n]!;
          if (draws[j]! >= p) tau[j] = 0;
          else if (c.rescale && c.variant === 'paper') tau[j] = tau[j]! / p;
        });
      });
    },
    keepNorm: c.rescale && c.variant === 'mergekit',
    rule: {
      divide: (c.normalize ?? c.consensus !== 'none') ? 'weights' : 'none',
      ...(c.consensus !== 'none' && { elect: { by: c.consensus, weighted: true, zero: 'plus' } }),
    },
    lambda: c.lambda,
  })),
});
