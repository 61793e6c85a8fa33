import { karcher, mergeTensors } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, models, ids }) =>
  mergeTensors(karcher, { models, ids, parameters: { maxIter: p.max_iter as number, tol: p.tol as number } }),
);
