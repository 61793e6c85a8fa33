import { gitRebasin, mergeTensors } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, models, ids }) =>
  mergeTensors(gitRebasin, {
    models,
    ids,
    parameters: {
      permutations: p.spec as Record<string, [string, number][]>,
      order: p.permutation_order_per_sweep as number[][],
      maxSweeps: p.max_sweeps as number,
    },
  }),
);
