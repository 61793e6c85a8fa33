import type { DropoutInput } from '../adapter/entering.js';
import type { Feeds } from '../backend/backend.js';
import { PeftError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { dropoutMask } from './dropout.js';
import { scalarTensor } from './groups.js';
import type { Batch } from './model.js';

/** Input of the training graph that the negative log likelihood of every label is multiplied with. */
const lossWeightName = 'loss_weight';

/** Makes the feeds of one micro-batch when its turn comes: dropout masks of all at once would fill the memory. */
export type MicroBatch = () => Feeds;

export interface DropoutPlan {
  readonly inputs: readonly DropoutInput[];
  readonly seed: number;
  /** Number of the update, from 0. */
  readonly update: number;
}

/**
 * The micro-batches of one update. Every label of the whole batch weighs the same, however the batch is cut: a mean of
 * the micro-batches' means would favour labels of short ones.
 */
export function microBatches(batches: readonly Batch[], dropout: DropoutPlan): MicroBatch[] {
  const labels = batches.reduce((sum, batch) => sum + batch.labels, 0);
  return batches.map((batch) => () => batchFeeds(batch, labels, dropout));
}

/** The feeds of a batch. @param labels those that its loss is a mean over */
export function batchFeeds(batch: Batch, labels = batch.labels, dropout?: DropoutPlan): Feeds {
  const masks: Record<string, Tensor> = {};
  for (const input of dropout?.inputs ?? []) {
    const rows = batch.rows[String(input.rows)];
    if (!rows)
      throw new PeftError(
        'INTERNAL',
        `The task does not say which rows "${input.rows}" are; dropout "${input.name}" needs it.`,
      );
    masks[input.name] = dropoutMask(input, rows, dropout!.seed, dropout!.update);
  }
  return { ...batch.feeds, ...masks, [lossWeightName]: scalarTensor(labels > 0 ? 1 / labels : 0) };
}
