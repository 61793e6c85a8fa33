import { mergeTensors, modelStock } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(
  async ({ record, p, base, models, ids }) =>
    mergeTensors(modelStock, {
      base,
      models,
      ids,
      parameters: {
        filterWise: p.mode === 'row',
        clamp: record.variant === 'clamped',
        pool: record.variant === 'fusion_bench' ? 'angles' : 'cosines',
      },
    }),
  // A row that one model leaves as it was: mergekit's floor makes its cosine 0, here it counts as parallel.
  {
    leave: (name, { variant, parameters }) =>
      variant === 'mergekit' && parameters.mode === 'row' && name.includes('gate_proj'),
  },
);
