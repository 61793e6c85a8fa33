import { mergeTensors, slerp } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, models, ids }) =>
  mergeTensors(slerp, {
    base,
    models,
    ids,
    parameters: { t: p.t as number, dotThreshold: p.dot_threshold as number },
  }),
);
