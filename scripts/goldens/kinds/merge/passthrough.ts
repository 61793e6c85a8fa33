import { mergeTensors, passthrough } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ p, models, ids }) =>
  mergeTensors(passthrough, { models, ids, parameters: { scale: p.scale as number } }),
);
