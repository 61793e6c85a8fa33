import type { DropoutInput } from '../adapter/entering.js';
import { philox } from '../tensor/philox.js';
import { createRandom } from '../tensor/random.js';
import type { Tensor } from '../tensor/tensor.js';

/** Which sample and which of its tokens every row is; -1 for padding. */
export interface RowOrigins {
  readonly sample: Int32Array;
  readonly token: Int32Array;
}

const channelsPerBlock = 8; // a block of four words gives eight numbers of 16 bits

/**
 * A mask [rows, width], 1 keeps and 0 drops, as a function of seed, update, input, sample, token and channel: the same numbers however the samples are
 * laid out in batches. Padding is dropped. Probabilities are rounded to 1/65536.
 */
export function dropoutMask({ name, width, p }: DropoutInput, rows: RowOrigins, seed: number, update: number): Tensor {
  const { key } = createRandom(seed).fork('dropout', name);
  const threshold = Math.round(p * 65536);
  const count = rows.sample.length;
  const data = new Uint8Array(count * width);
  const words = new Uint32Array(4);
  for (let row = 0; row < count; row++) {
    const sample = rows.sample[row]!;
    if (sample < 0) continue;
    for (let channel = 0; channel < width; channel += channelsPerBlock) {
      philox(update, sample, rows.token[row]!, channel / channelsPerBlock, key[0], key[1], words, 0);
      const at = row * width + channel;
      const block = Math.min(channelsPerBlock, width - channel);
      for (let i = 0; i < block; i++) data[at + i] = ((words[i >> 1]! >>> ((i & 1) << 4)) & 0xffff) < threshold ? 0 : 1;
    }
  }
  return { dtype: 'u8', shape: [count, width], data };
}
