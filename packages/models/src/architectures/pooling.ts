import { mulDim, type ShapedValue } from '@peftjs/core/graph';
import { type Grid, readInputs } from './grid.js';
import type { Net } from './net.js';

/** How token vectors become one vector a sequence. */
export interface Pooling {
  readonly mode: 'mean' | 'cls';
  /** Scales every vector to Euclidean length 1. */
  readonly normalize: boolean;
}

/**
 * One vector for each sequence that `read` points into (at its first token): hidden [batch*length, width] ->
 * [batch*reads, width]. The mean is over the tokens of the sequence.
 */
export function pool(net: Net, hidden: ShapedValue, grid: Grid, pooling: Pooling): ShapedValue {
  const { ops } = net;
  const width = hidden.shape[1]!;
  const reads = readInputs(net, grid);
  const rows = mulDim('batch', 'reads');

  function mean(): ShapedValue {
    const same = ops.equal(ops.unsqueeze(reads.grid.segment!, [2]), ops.unsqueeze(grid.segment!, [1]));
    const member = ops.cast(same, 'f32'); // batch × reads × length
    const sum = ops.matmul(member, ops.reshape(hidden, ['batch', 'length', width]));
    return ops.reshape(ops.div(sum, ops.sum(member, [2])), [rows, width]);
  }

  const vector = pooling.mode === 'mean' ? mean() : ops.gather(hidden, reads.indices);
  if (!pooling.normalize) return vector;
  // The smallest length is that of torch.nn.functional.normalize.
  const length = ops.max(ops.sqrt(ops.sum(ops.mul(vector, vector), [1])), 1e-12);
  return ops.div(vector, length);
}
