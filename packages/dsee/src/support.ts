import { largest, matrix, type Random, type Tensor } from '@peftjs/core';
import type { DseeSettings } from './config.js';
import { decompose, roundsTo } from './decompose.js';

function deviation(data: Float32Array): number {
  let [sum, squares] = [0, 0];
  for (const x of data) {
    sum += x;
    squares += x * x;
  }
  const mean = sum / data.length;
  return Math.sqrt(Math.max(0, squares / data.length - mean * mean));
}

const scores: Readonly<Record<DseeSettings['support'], (W: Tensor, c: DseeSettings, rng: Random) => Float32Array>> = {
  decomposition({ data, shape }, { supportRank, threshold }, rng) {
    const [m, n] = shape as [number, number];
    // A rank near the smaller side leaves nothing of W to choose from.
    const rank = Math.max(1, Math.min(supportRank, Math.floor(Math.min(m, n) / 2)));
    const { residual } = decompose(matrix(m, n, data as Float32Array), {
      v: matrix(1, n, rng.normal([n]).data as Float32Array),
      threshold: threshold * deviation(data as Float32Array),
      rounds: roundsTo(rank),
    });
    return Float32Array.from(residual.data, Math.abs);
  },
  magnitude: ({ data }) => Float32Array.from(data as Float32Array, Math.abs),
  random: ({ shape }, _, rng) => rng.uniform(shape).data as Float32Array,
};

/**
 * Where S₂ has its entries: exactly N flat indices into W (out, in), ascending. Where the sparse part of the
 * decomposition has fewer entries than that, the largest of what it cut off follow.
 */
export function supportOf(W: Tensor, c: DseeSettings, rng: Random): number[] {
  const list = scores[c.support](W, c, rng);
  return largest([{ length: list.length, at: (i) => list[i]! }], c.entries)[0]!;
}
