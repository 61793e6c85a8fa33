import { della, mergeTensors } from '@peftjs/merge';
import { drawsOf, type MergeCase, mergeKind } from '../../merging.js';

function parametersOf({ record, p }: MergeCase) {
  const probabilities = record.variant.endsWith('layer)')
    ? 'tensor'
    : record.variant.endsWith('value)')
      ? 'value'
      : 'row';
  return {
    variant: record.variant.startsWith('paper') ? ('paper' as const) : ('mergekit' as const),
    density: p.density as number,
    epsilon: p.epsilon as number,
    probabilities: probabilities as 'tensor' | 'value' | 'row',
    lambda: p.lambda as number | undefined,
    consensus: p.consensus === null ? ('none' as const) : ('total' as const),
    normalize: p.normalize as boolean | undefined,
  };
}

export const run = mergeKind(
  async (merge) => {
    const { base, models, ids, weights, extra } = merge;
    const [draws] = await extra('uniform_draws');
    const random = draws && drawsOf(draws);
    return mergeTensors(della, {
      base,
      models,
      ids,
      weights,
      ...(random && { random }),
      parameters: parametersOf(merge),
    });
  },
  {
    leave: (name, { tensors_compared }) => tensors_compared !== undefined && !tensors_compared.includes(name),
    // A row of one element is kept with the density as its probability: defined, never NaN.
    instead: (result) =>
      [...result].flatMap(([name, { data }]) =>
        (data as Float32Array).every(Number.isFinite) ? [] : [`${name} is not finite`],
      ),
  },
);
