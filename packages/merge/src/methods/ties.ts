import { PeftError } from '@peftjs/core';
import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { keepSelected } from '../select.js';
import type { Rule } from '../vectors/consensus.js';
import { taskVectorFamily } from '../vectors/family.js';
import { density, lambda, normalize, noWeights } from './options.js';

/**
 * Whose definition: `mergekit` trims each tensor and elects signs by weighted sums; `peft` elects unweighted and divides
 * by the number of models that agree; `paper` trims over all tensors at once and knows no weights; `ties-merging` (the
 * authors' code) keeps one element more and all equal ones; `mergelm` counts what is dropped instead.
 */
const variants = ['mergekit', 'paper', 'ties-merging', 'mergelm', 'peft'] as const;
type Variant = (typeof variants)[number];

export const TiesConfig = z.strictObject({
  variant: z.enum(variants).default('mergekit').meta({ description: 'Whose definition is followed.' }),
  density: density
    .optional()
    .meta({ description: 'Fraction kept: 0.2 by default in the definitions after the paper, else 1.' }),
  lambda,
  normalize: normalize
    .optional()
    .meta({ description: 'Variant mergekit: divide by the weights that agree; default true.' }),
  rescale: z
    .boolean()
    .default(false)
    .meta({ description: "Bring each trimmed task vector back to its tensor's L1 norm." }),
  majoritySign: z
    .enum(['total', 'frequency'])
    .default('total')
    .meta({ description: 'Elect signs by the sum of the elements or by their number.' }),
  merge: z.enum(['mean', 'sum', 'max']).optional().meta({
    description: 'In the definitions after the paper: what is taken of the elements that agree; default mean.',
  }),
});
type Settings = z.output<typeof TiesConfig>;

/** Definitions over all tensors at once, with neither weights nor a norm. */
const isPaper = (variant: Variant): boolean => variant !== 'mergekit' && variant !== 'peft';

/** How many elements a density keeps, before elements equal to the last one are looked at. */
function survivors(variant: Variant, rho: number, count: number): number {
  switch (variant) {
    case 'ties-merging':
      return Math.floor(count * rho) + 1;
    case 'mergelm':
      return count - Math.floor(count * (1 - rho)) + 1;
    default:
      return Math.floor(count * rho);
  }
}

function rule({ variant, majoritySign: by, normalize: divided = true, merge }: Settings): Rule {
  if (variant === 'mergekit')
    return { elect: { by, weighted: true, zero: 'plus' }, divide: divided ? 'weights' : 'none' };
  if (variant === 'peft') return { elect: { by, weighted: false, zero: 'plus' }, divide: 'count' };
  const zero = variant === 'mergelm' ? 'majority' : 'majority-or-minus';
  const divide = merge === 'sum' ? 'none' : 'count';
  return { elect: { by, weighted: false, zero }, divide, largest: merge === 'max' };
}

/** Trim, elect signs, merge what agrees (Yadav et al. 2023). */
export const ties = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'ties',
  paper: 'https://arxiv.org/abs/2306.01708',
  config: TiesConfig,
  perModel: ['density'],
  base: 'required',
  check({ weights, c }) {
    const problems = isPaper(c.variant)
      ? noWeights(weights, `the variant ${c.variant} only has lambda; variant mergekit takes weights`)
      : [];
    if (c.normalize !== undefined && c.variant !== 'mergekit')
      problems.push(`normalize belongs to variant mergekit, not to ${c.variant}`);
    if (c.merge !== undefined && !isPaper(c.variant))
      problems.push(`merge belongs to the variants after the paper, not to ${c.variant}`);
    return problems;
  },
  ...taskVectorFamily<Settings>(({ c, each, tensor }) => ({
    wanted(i) {
      const rho = each[i]!.density ?? (isPaper(c.variant) ? 0.2 : 1);
      const scope = isPaper(c.variant) ? 'model' : 'tensor';
      const k = (count: number) => {
        const kept = survivors(c.variant, rho, count);
        if (kept > 0 || count === 0) return kept;
        const where = scope === 'tensor' ? `tensor "${tensor}"` : 'the model';
        const problem = `ties: density ${rho} keeps none of the ${count} elements of ${where}: give it a density of at least ${1 / count}.`;
        throw new PeftError('CONFIG_INVALID', problem, { details: { tensor, density: rho, count } });
      };
      return { kept: { k, scope } };
    },
    sparsify(tau, { chunk, selection }) {
      const kept = selection('kept');
      // The authors' code and MergeLM's compare with a threshold, so everything equal to it stays.
      const keepsEqual = c.variant === 'ties-merging' || c.variant === 'mergelm';
      keepSelected(tau, keepsEqual ? { ...kept, last: Number.POSITIVE_INFINITY } : kept, chunk.offset);
    },
    keepNorm: c.rescale,
    rule: rule(c),
    lambda: c.lambda,
  })),
});
