import type { ShapedValue } from '@peftjs/core/graph';
import type { Net } from './net.js';

export interface Rotation {
  readonly cos: ShapedValue; // batch × count × headDim/2
  readonly sin: ShapedValue;
}

/** Inverse frequencies theta^(-2i/headDim), rounded to f32 at the same steps as PyTorch does. */
export function inverseFrequencies(headDim: number, theta: number): Float32Array {
  return Float32Array.from({ length: headDim / 2 }, (_, i) => 1 / Math.fround(theta ** Math.fround((2 * i) / headDim)));
}

/** Angles position · frequency of tokens at position i64 [batch, count] (RoFormer, https://arxiv.org/abs/2104.09864, equation 15). */
export function rotation(net: Net, position: ShapedValue, headDim: number, theta: number): Rotation {
  const { ops } = net;
  const data = inverseFrequencies(headDim, theta);
  const frequency = ops.constant({ dtype: 'f32', shape: [data.length], data }, `rotary:${headDim}:${theta}`);
  const angle = ops.mul(ops.cast(ops.unsqueeze(position, [2]), 'f32'), frequency);
  return { cos: ops.cos(angle), sin: ops.sin(angle) };
}
