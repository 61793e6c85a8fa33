import { mergeTensors, ram } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, base, models, ids }) => {
  const plus = p.r === undefined ? undefined : { r: p.r as number, alpha: p.alpha as number };
  return mergeTensors(ram, { base, models, ids, parameters: { epsilon: p.epsilon as number, plus } });
});
