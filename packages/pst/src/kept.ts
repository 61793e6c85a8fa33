import { eachLargest, type Params, type Tensor } from '@peftjs/core';
import type { PstSettings } from './config.js';
import { prunedCount } from './math.js';

const entry = ({ data }: Tensor, i: number): number => Number(data[i]);

/** (X Y)[i, j] of factors n × k and k × m. */
function product(x: Tensor, y: Tensor, i: number, j: number): number {
  const [inner, columns] = y.shape as [number, number];
  let sum = 0;
  for (let k = 0; k < inner; k++) sum += entry(x, i * inner + k) * entry(y, k * columns + j);
  return sum;
}

/**
 * The mask of the final sparsity, flat: 1 stays; among equal scores the earlier stays. The scores are summed in double
 * precision and rounded once, a graph rounds every sum: of scores that differ by no more, it may keep another.
 */
export function keptAtEnd(W: Tensor, p: Params<Tensor>, c: PstSettings): Uint8Array {
  const { u, v, a, b, r, c: columnScores } = p as Record<'u' | 'v' | 'a' | 'b' | 'r' | 'c', Tensor>;
  const columns = W.shape[1]!;
  const score = Float32Array.from({ length: W.data.length }, (_, at) => {
    const [i, j] = [Math.floor(at / columns), at % columns];
    const changed = entry(W, at) + c.beta * product(u, v, i, j);
    const structure = entry(r, i) + entry(columnScores, j);
    return Math.abs(changed) + c.alpha1 * product(a, b, i, j) + c.alpha2 * structure;
  });
  const kept = new Uint8Array(score.length);
  const count = score.length - prunedCount(score.length, c.sparsity);
  eachLargest([{ length: score.length, at: (i) => score[i]! }], count, (i) => {
    kept[i] = 1;
  });
  return kept;
}
