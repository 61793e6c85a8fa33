import { mergeTensors, sce } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(
  async ({ record, p, base, models, ids }) =>
    mergeTensors(sce, {
      base,
      models,
      ids,
      parameters: { selectTopk: p.select_topk as number, uniformBelow: record.variant === 'mergekit' ? 1e-6 : 0 },
    }),
  // Where no element differs between the models, mergekit's result has one axis too many.
  {
    leave: (name, { variant, parameters }) =>
      variant === 'mergekit' && parameters.select_topk !== 1 && name === 'frozen.weight',
  },
);
