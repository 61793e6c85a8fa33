import type { Params, Tensor } from '@peftjs/core';
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

/** The mask of the final sparsity, flat, as the graph has it: 1 stays; among equal scores the earlier stays. */
export function keptAtEnd(W: Tensor, p: Params<Tensor>, c: PstSettings): Uint8Array {
  const { u, v, a, b, r, c: columnScores } = p as Record<'u' | 'v' | 'a' | 'b' | 'r' | 'c', Tensor>;
  const columns = W.shape[1]!;
  const score = Float32Array.from({ length: W.data.length }, (_, at) => {
    const [i, j] = [Math.floor(at / columns), at % columns];
    const changed = Math.fround(entry(W, at) + c.beta * product(u, v, i, j));
    const structure = entry(r, i) + entry(columnScores, j);
    return Math.abs(changed) + c.alpha1 * product(a, b, i, j) + c.alpha2 * structure;
  });
  const order = [...score.keys()].sort((x, y) => score[y]! - score[x]! || x - y);
  const keep = new Uint8Array(score.length);
  for (const at of order.slice(0, score.length - prunedCount(score.length, c.sparsity))) keep[at] = 1;
  return keep;
}
