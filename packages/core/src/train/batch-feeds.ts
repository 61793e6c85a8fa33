import type { DropoutInput } from '../adapter/entering.js';
import type { Feeds } from '../backend/backend.js';
import { PeftError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { dropoutMask } from './dropout.js';
import { scalarTensor } from './groups.js';
import type { Batch } from './model.js';

/** Input of the training graph that the negative log likelihood of every label is multiplied with. */
const lossWeightName = 'loss_weight';

export interface DropoutPlan {
  readonly inputs: readonly DropoutInput[];
  readonly seed: number;
  /** Number of the update, from 0. */
  readonly update: number;
}

/**
 * The feeds of the micro-batches of one update. Every label of the whole batch weighs the same, however the batch is
 * cut: a mean of the micro-batches' means would favour labels of short ones.
 */
export function batchFeeds(batches: readonly Batch[], { inputs, seed, update }: DropoutPlan): Feeds[] {
  const labels = batches.reduce((sum, batch) => sum + batch.labels, 0);
  const weight = scalarTensor(labels > 0 ? 1 / labels : 0);
  return batches.map((batch) => {
    const masks: Record<string, Tensor> = {};
    for (const input of inputs) {
      const rows = batch.rows[String(input.rows)];
      if (!rows)
        throw new PeftError(
          'INTERNAL',
          `The task does not say which rows "${input.rows}" are; dropout "${input.name}" needs it.`,
        );
      masks[input.name] = dropoutMask(input, rows, seed, update);
    }
    return { ...batch.feeds, ...masks, [lossWeightName]: weight };
  });
}
