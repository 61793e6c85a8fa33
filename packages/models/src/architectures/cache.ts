import type { Dim, ShapedValue } from '@peftjs/core/graph';
import type { Past } from './attention.js';
import type { Net } from './net.js';

/** Names of the cached keys and values, as inputs and as outputs. */
export const cacheNames = (layer: number, part: 'key' | 'value') => ({
  past: `past_key_values.${layer}.${part}`,
  present: `present.${layer}.${part}`,
});

/** What a layer adds to the graph when keys and values are cached. */
export interface Caching {
  /** Hides unused places: batch × 1 × 1 × past. */
  readonly bias: ShapedValue;
  /** Collects the new keys and values under their names. */
  readonly outputs: Record<string, ShapedValue>;
}

/** Declares the cache of one layer and notes its new keys and values [batch, kvHeads, length, headDim]. */
export function cached(net: Net, layer: number, key: ShapedValue, value: ShapedValue, caching: Caching): Past {
  const { bias, outputs } = caching;
  const declare = (part: 'key' | 'value', fresh: ShapedValue) => {
    const { past, present } = cacheNames(layer, part);
    outputs[present] = fresh;
    const [batch, kvHeads, , headDim] = fresh.shape as [Dim, Dim, Dim, Dim];
    return net.ops.input(past, 'f32', [batch, kvHeads, 'past', headDim]);
  };
  return { key: declare('key', key), value: declare('value', value), bias };
}
