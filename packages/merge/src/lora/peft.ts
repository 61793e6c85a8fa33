import { compact, scale, sum } from '@peftjs/core';
import * as z from 'zod';
import type { LoraContext, LoraMerged, LoraMergeFunction } from './define.js';
import { defineLoraMerge } from './define-merge.js';
import { requireFactors } from './parts.js';
import { largestRank, onDeltas, onFactors, type Rule, type RuleConfig, sideBySide } from './peft-rules.js';

/**
 * The combination types of Hugging Face PEFT's `add_weighted_adapter` (release 0.21), number for number, as presets of
 * one rule: prune each adapter, then sum or elect signs, on the factors or on the whole updates.
 *
 * `cat` and `svd` mean Σ wᵢ ΔWᵢ. The rules on factors do not: the product of the merged factors has cross terms Bᵢ Aⱼ,
 * so that two halves of one adapter make 2 (linear) or 0.5 (ties) of it. They are here to give the same adapters as PEFT;
 * prefer `cat` and `svd`.
 *
 * NOTE: departures, all of them where PEFT's adapter is not what its own rule says. The result never inherits rsLoRA, under
 * which PEFT's is √r too strong. Biases of B, DoRA and replaced heads that meet are refused; PEFT drops or overwrites
 * them. Ranks are compared module by module. Density 0 is refused; PEFT divides by it.
 */
const density = z.number().gt(0).max(1).describe('Share of the numbers that stays.');
const majoritySign = z
  .enum(['total', 'frequency'])
  .default('total')
  .describe('Signs are elected by the sum of the numbers, or by how many there are.');
const rank = z.number().int().min(1).optional().describe('Rank of the result; default: the largest of the inputs.');

const paperOf = ({ prune, elect }: Rule): string | undefined =>
  prune === 'random' ? 'https://arxiv.org/abs/2311.03099' : elect ? 'https://arxiv.org/abs/2306.01708' : undefined;

type How = (name: string, rule: Rule, context: LoraContext<RuleConfig>) => Promise<LoraMerged>;

/** A single adapter is only scaled, whatever the rule. */
function preset<Schema extends z.ZodType>(
  name: string,
  rule: Rule,
  how: How,
  config: Schema,
): LoraMergeFunction<Schema> {
  const paper = paperOf(rule);
  return defineLoraMerge({
    name,
    ...(paper !== undefined && { paper }),
    config,
    combine: (context) =>
      context.inputs.length === 1
        ? onFactors(name, {}, context as LoraContext<RuleConfig>)
        : how(name, rule, context as LoraContext<RuleConfig>),
  });
}

const ties: Rule = { prune: 'magnitude', elect: true };
const dareLinear: Rule = { prune: 'random' };
const dareTies: Rule = { prune: 'random', elect: true };
const magnitudePrune: Rule = { prune: 'magnitude' };

export const peftLinear = preset('peft-linear', {}, onFactors, z.strictObject({}));
export const peftTies = preset('peft-ties', ties, onFactors, z.strictObject({ density, majoritySign }));
export const peftDareLinear = preset('peft-dare_linear', dareLinear, onFactors, z.strictObject({ density }));
export const peftDareTies = preset('peft-dare_ties', dareTies, onFactors, z.strictObject({ density, majoritySign }));
export const peftMagnitudePrune = preset(
  'peft-magnitude_prune',
  magnitudePrune,
  onFactors,
  z.strictObject({ density }),
);

export const peftTiesSvd = preset('peft-ties_svd', ties, onDeltas, z.strictObject({ density, majoritySign, rank }));
export const peftDareLinearSvd = preset(
  'peft-dare_linear_svd',
  dareLinear,
  onDeltas,
  z.strictObject({ density, rank }),
);
export const peftDareTiesSvd = preset(
  'peft-dare_ties_svd',
  dareTies,
  onDeltas,
  z.strictObject({ density, majoritySign, rank }),
);
export const peftMagnitudePruneSvd = preset(
  'peft-magnitude_prune_svd',
  magnitudePrune,
  onDeltas,
  z.strictObject({ density, rank }),
);

export const peftCat = preset('peft-cat', {}, (name, _, context) => sideBySide(name, context), z.strictObject({}));

/** The plain sum needs no whole update: its truncation is found from the factors. */
export const peftSvd = preset(
  'peft-svd',
  {},
  async (name, _, { inputs, kinds, c }) => {
    requireFactors(inputs, name);
    const delta = sum(...inputs.map(({ adapter, weight }) => scale(adapter.delta, weight, kinds)), { kinds });
    return compact(delta, { kinds, rank: c.rank ?? largestRank({ inputs }) });
  },
  z.strictObject({ rank }),
);
