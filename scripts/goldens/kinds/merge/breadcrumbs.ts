import { breadcrumbs, mergeTensors } from '@peftjs/merge';
import { mergeKind } from '../../merging.js';

export const run = mergeKind(
  async ({ p, base, models, ids, weights }) =>
    mergeTensors(breadcrumbs, {
      base,
      models,
      ids,
      weights,
      parameters: {
        density: p.density as number,
        gamma: p.gamma as number,
        normalize: p.normalize as boolean,
        consensus: p.consensus === 'sum' ? 'total' : 'none',
      },
    }),
  {
    // mergekit zeroes the whole task vector of a tensor with int(gamma n) = 0; this library does not.
    leave: (name, { tensor_notes }) => tensor_notes?.[name]?.includes('defect') ?? false,
    // Of equal magnitudes the reference drops the first as the smallest; here the first is the largest.
    counted: (name, { ambiguous_tensors }) => ambiguous_tensors?.includes(name) ?? false,
  },
);
