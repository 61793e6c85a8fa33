import { mergeTensors, nearswap } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, models, ids }) =>
  mergeTensors(nearswap, { base, models, ids, parameters: { t: p.t as number } }),
);
