import { PeftError, type Tensor } from '@peftjs/core';
import { mergeTensors, type Tensors } from '../in-memory.js';
import { uniformSoup } from '../methods/uniform-soup.js';

export interface SparseSoupInputs {
  readonly models: readonly Tensors[];
  /** One for all models, or one a model; 1 keeps an element. A tensor without a mask is dense. */
  readonly masks: readonly Tensors[];
  readonly ids?: readonly string[];
}

const isKept = (mask: Tensor | undefined, j: number): boolean => !mask || Number(mask.data[j]) !== 0;

/** Where masks differ, with the density that the soup would have there. */
function differences(masks: readonly Tensors[]): string[] {
  const names = [...new Set(masks.flatMap((mask) => [...mask.keys()]))];
  return names.flatMap((name) => {
    const size = Math.max(...masks.map((mask) => mask.get(name)?.data.length ?? 0));
    let union = 0;
    let all = 0;
    for (let j = 0; j < size; j++) {
      const kept = masks.filter((mask) => isKept(mask.get(name), j)).length;
      if (kept > 0) union++;
      if (kept === masks.length) all++;
    }
    return union === all ? [] : [`tensor "${name}" (their union keeps ${((100 * union) / size).toFixed(1)} % of it)`];
  });
}

function masked(model: Tensors, mask: Tensors): Tensors {
  return new Map(
    [...model].map(([name, tensor]) => {
      const kept = mask.get(name);
      if (!kept) return [name, tensor];
      const data = tensor.data.slice() as Float32Array; // 0 has the same bits in every float type
      for (let j = 0; j < data.length; j++) if (!isKept(kept, j)) data[j] = 0;
      return [name, { ...tensor, data }];
    }),
  );
}

/**
 * The mean of models pruned with one mask (Zimmer et al. 2024), as sparse as they are. What lies outside the mask is
 * left out, as in training.
 * @throws PeftError DELTA_CONFLICT when masks differ: the mean of different supports is denser than each
 */
export function sparseSoup({ models, masks, ids }: SparseSoupInputs): Map<string, Tensor> {
  if (masks.length !== 1 && masks.length !== models.length) {
    const problem = `A sparse soup of ${models.length} models takes one mask, or one for each, not ${masks.length}.`;
    throw new PeftError('CONFIG_INVALID', problem);
  }
  const different = differences(masks);
  if (different.length > 0) {
    const problem = `The masks differ in ${different.join(', ')}: average models pruned with one mask, or prune the plain soup again.`;
    throw new PeftError('DELTA_CONFLICT', problem, { details: { tensors: different } });
  }
  return mergeTensors(uniformSoup, { models: models.map((model) => masked(model, masks[0]!)), ids });
}
