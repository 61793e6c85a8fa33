import { mergeTensors, ties } from '@peftjs/merge';
import { type MergeCase, mergeKind } from '../../merging.js';

const variants = {
  'paper (official code)': 'ties-merging',
  'paper (exact k)': 'paper',
  'MergeLM code': 'mergelm',
  mergekit: 'mergekit',
  peft: 'peft',
} as const;
const merges = { 'dis-mean': 'mean', mean: 'mean', 'dis-sum': 'sum', 'dis-max': 'max' } as const;

function parametersOf({ record, p }: MergeCase) {
  const rate = p.param_value_mask_rate as number | undefined;
  return {
    variant: variants[record.variant as keyof typeof variants],
    density: rate === undefined ? (Array.isArray(p.density) ? undefined : (p.density as number)) : 1 - rate,
    lambda: (p.lambda ?? p.scaling_coefficient) as number | undefined,
    normalize: p.normalize as boolean | undefined,
    rescale: p.rescale as boolean | undefined,
    majoritySign: p.majority_sign_method as 'total' | 'frequency' | undefined,
    merge: merges[p.merge as keyof typeof merges],
  };
}

export const run = mergeKind(
  async (merge) => {
    const { p, base, models, ids, weights } = merge;
    const each = Array.isArray(p.density) ? p.density.map((density: number) => ({ density })) : undefined;
    return mergeTensors(ties, { base, models, ids, weights, each, parameters: parametersOf(merge) });
  },
  {
    // PEFT's topk keeps arbitrary ones of equal magnitudes.
    counted: (name, { variant }) => variant === 'peft' && name === 'equal.weight',
  },
);
