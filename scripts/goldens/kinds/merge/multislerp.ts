import { mergeTensors, multislerp } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, models, ids, weights }) =>
  mergeTensors(multislerp, {
    base,
    models,
    ids,
    weights,
    parameters: { normalizeWeights: p.normalize_weights as boolean },
  }),
);
