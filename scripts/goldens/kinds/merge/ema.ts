import { ema, mergeTensors, wiseFt } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ record, p, base, models, ids }) => {
  if (record.variant === 'wise-ft')
    return mergeTensors(wiseFt, { base, models, ids, parameters: { alpha: p.alpha as number } });
  return mergeTensors(ema, {
    models,
    ids,
    parameters: {
      decay: p.decay as number | undefined,
      debias: record.variant.includes('bias correction'),
      warmup: record.variant.includes('warm-up'),
      window: p.k as number | undefined,
    },
  });
});
