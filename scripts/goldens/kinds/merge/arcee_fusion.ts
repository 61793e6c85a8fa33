import { arceeFusion, mergeTensors } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(async ({ base, models, ids }) => mergeTensors(arceeFusion, { base, models, ids }), {
  // Where every row has one softmax, the divergence is rounding noise and any choice of elements is right.
  leave: (name, { tensor_notes }) => tensor_notes?.[name]?.includes('rounding noise') ?? false,
});
