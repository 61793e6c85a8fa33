import * as z from 'zod';
import { defineMerge } from '../define-merge.js';
import { keepAtRandom } from '../draws.js';
import { keepSelected } from '../select.js';
import type { Rule } from '../vectors/consensus.js';
import { taskVectorFamily, type Wanted } from '../vectors/family.js';
import { consensus, density, lambda, normalize } from './options.js';

export const DareConfig = z.strictObject({
  variant: z.enum(['mergekit', 'paper', 'peft']).default('mergekit').meta({
    description:
      "Whose definition: paper and peft divide what is kept by the density; mergekit restores the tensor's L1 norm instead.",
  }),
  density: density.default(1),
  lambda,
  rescale: z.boolean().default(true).meta({ description: 'Make up for what was dropped.' }),
  consensus: consensus.default('none'),
  normalize: normalize.default(false),
  strategy: z
    .enum(['random', 'magnitude'])
    .default('random')
    .meta({ description: 'Drop at random, or the smallest elements with all that equal the last of them.' }),
});
type Settings = z.output<typeof DareConfig>;

function rule({ variant, consensus: by, normalize: divided }: Settings): Rule {
  const divide = divided ? 'weights' : 'none';
  if (by === 'none') return { divide };
  if (variant === 'mergekit') return { elect: { by, weighted: true, zero: 'plus' }, divide };
  if (variant === 'peft') return { elect: { by, weighted: false, zero: 'plus' }, divide: 'count' };
  return { elect: { by, weighted: false, zero: 'majority-or-minus' }, divide: 'count' };
}

/**
 * Drop elements of the task vectors and rescale the rest (Yu et al. 2024), then add, with or without elected signs.
 * Element j of a tensor is kept when its own draw is below the density: the draw depends on the seed, the model's name,
 * the tensor's path and j alone.
 */
export const dare = /* @__PURE__ */ defineMerge({
  spec: 'v1',
  name: 'dare',
  paper: 'https://arxiv.org/abs/2311.03099',
  config: DareConfig,
  perModel: ['density'],
  base: 'required',
  check({ c }) {
    const problems: string[] = [];
    if (c.normalize && c.consensus !== 'none' && c.variant !== 'mergekit')
      problems.push(`normalize has no effect on the consensus of variant ${c.variant}: leave it out`);
    return problems;
  },
  ...taskVectorFamily<Settings>(({ c, each, rng, ids }) => ({
    wanted(i): Record<string, Wanted> {
      if (c.strategy === 'random') return {};
      // Dropped are the int(n (1 - ρ)) smallest: the one above them is the border.
      return { kept: { k: (count) => count - Math.floor(count * (1 - each[i]!.density)) + 1 } };
    },
    sparsify(tau, { context, chunk, i, selection }) {
      const rho = each[i]!.density;
      const { offset } = chunk;
      if (c.strategy === 'random') keepAtRandom(tau, rho, rng, ids[i]!, offset);
      // Everything equal to the border is dropped with it.
      else if (Math.floor(context.count * (1 - rho)) > 0) keepSelected(tau, { ...selection('kept'), last: -1 }, offset);
      const factor = c.rescale && c.variant !== 'mergekit' ? 1 / rho : 1;
      if (factor !== 1) for (let j = 0; j < tau.length; j++) tau[j] = tau[j]! * factor;
    },
    keepNorm: c.rescale && c.variant === 'mergekit',
    rule: rule(c),
    lambda: c.lambda,
  })),
});
