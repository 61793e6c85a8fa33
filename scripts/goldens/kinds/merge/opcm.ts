import { mergeTensors, opcm } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, models, ids }) =>
  mergeTensors(opcm, {
    base,
    models,
    ids,
    parameters: { alpha: p.alpha as number, linear: p.linear_tensors as string[] },
  }),
);
