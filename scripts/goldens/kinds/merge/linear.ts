import { linear, mergeTensors } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, models, ids, weights }) =>
  mergeTensors(linear, { models, ids, weights, parameters: { normalize: p.normalize as boolean } }),
);
