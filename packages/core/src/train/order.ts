import { createRandom } from '../tensor/random.js';

/** The order in which epoch `epoch` (from 0) visits `rows` samples. */
export const epochOrder = (seed: number, epoch: number, rows: number): Int32Array =>
  createRandom(seed).fork('order', epoch).permutation(rows);

export interface OrderOptions {
  readonly seed: number;
  readonly rows: number;
  readonly batchSize: number;
  /** Batches whose gradients are summed for one update. */
  readonly gradAccumulation: number;
  /** Leaves out the last batch of an epoch when it is not full. */
  readonly dropLast: boolean;
}

/** Where an update lies: its samples are a function of its number alone, so a resumed run continues in place. */
export interface Order {
  readonly updatesPerEpoch: number;
  /** The micro-batches of update t (from 0), as numbers of samples; the last update of an epoch may have fewer. */
  update(t: number): { readonly epoch: number; readonly batches: readonly (readonly number[])[] };
}

export function createOrder({ seed, rows, batchSize, gradAccumulation, dropLast }: OrderOptions): Order {
  const batches = dropLast ? Math.floor(rows / batchSize) : Math.ceil(rows / batchSize);
  const updatesPerEpoch = Math.ceil(batches / gradAccumulation);
  let current: { epoch: number; order: Int32Array } = { epoch: -1, order: new Int32Array() };
  return {
    updatesPerEpoch,
    update(t) {
      const epoch = Math.floor(t / updatesPerEpoch);
      if (current.epoch !== epoch) current = { epoch, order: epochOrder(seed, epoch, rows) };
      const first = (t % updatesPerEpoch) * gradAccumulation;
      const last = Math.min(first + gradAccumulation, batches);
      return {
        epoch,
        batches: Array.from({ length: last - first }, (_, i) => {
          const from = (first + i) * batchSize;
          return Array.from(current.order.subarray(from, from + batchSize));
        }),
      };
    },
  };
}
