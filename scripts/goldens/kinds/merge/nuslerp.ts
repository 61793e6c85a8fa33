import { mergeTensors, nuslerp } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, models, ids, weights }) => {
  const across = p.nuslerp_row_wise ? ('first' as const) : ('last' as const);
  const axis = p.nuslerp_flatten === false ? across : ('all' as const);
  return mergeTensors(nuslerp, { base, models, ids, weights, parameters: { axis } });
});
