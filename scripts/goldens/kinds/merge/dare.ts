import { dare, mergeTensors } from '@peftjs/merge';
import { type MergeCase, masksAsBytes, mergeKind } from '../../merging.js';

function parametersOf({ record, p }: MergeCase) {
  const magnitude = p.mask_rate !== undefined;
  const variant = magnitude ? 'paper' : (record.variant as 'paper' | 'mergekit' | 'peft');
  const isTies = p.consensus === 'sum' || p.divisor === 'count of kept';
  return {
    variant,
    density: magnitude ? 1 - (p.mask_rate as number) : (p.density as number),
    lambda: p.lambda as number | undefined,
    rescale: p.rescale !== 'none',
    consensus: isTies ? ('total' as const) : ('none' as const),
    strategy: magnitude ? ('magnitude' as const) : ('random' as const),
  };
}

export const run = mergeKind(async (merge) => {
  const { p, base, models, ids, extra } = merge;
  const [masks] = await extra('keep_masks');
  const average = p.merge === 'average of the dropped models';
  const weights = average ? models.map(() => 1 / models.length) : merge.weights;
  const random = masks && masksAsBytes(masks);
  return mergeTensors(dare, { base, models, ids, weights, ...(random && { random }), parameters: parametersOf(merge) });
});
