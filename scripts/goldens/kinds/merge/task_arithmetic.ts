import { mergeTensors, taskArithmetic } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, models, ids, weights }) => {
  const parameters = { lambda: p.lambda as number | undefined, normalize: p.normalize as boolean | undefined };
  return mergeTensors(taskArithmetic, { base, models, ids, weights, parameters });
});
