import { mulDim, type ShapedValue } from '@peftjs/core/graph';
import { type Grid, rowsOf } from './grid.js';
import { type HeadSizes, type Net, rowsLeft } from './net.js';

/** [batch*count, heads*headDim] -> [batch, heads, count, headDim]. */
export function splitHeads(net: Net, x: ShapedValue, grid: Grid, heads: number, headDim: number): ShapedValue {
  return net.ops.transpose(net.ops.reshape(x, ['batch', grid.count, heads, headDim]), [0, 2, 1, 3]);
}

/** Heads of a layer as its query and key weights have them; those of the configuration where the two do not go together. */
export function headsLeft(
  net: Net,
  paths: { readonly query: string; readonly key: string },
  size: HeadSizes,
): HeadSizes {
  const { heads, kvHeads, headDim } = size;
  const left = (path: string, configured: number) => rowsLeft(net, path, configured * headDim, headDim) / headDim;
  const pruned = { heads: left(paths.query, heads), kvHeads: left(paths.key, kvHeads), headDim };
  return pruned.heads % pruned.kvHeads === 0 ? pruned : { heads, kvHeads, headDim };
}

export interface Past {
  readonly key: ShapedValue; // batch × kvHeads × past × headDim
  readonly value: ShapedValue;
  readonly bias: ShapedValue; // batch × 1 × 1 × past
}

export interface AttentionOptions extends HeadSizes {
  readonly queries: Grid;
  /** Added to the scores: batch × 1 × queries × keys. Undefined where every token sees every other. */
  readonly bias: ShapedValue | undefined;
  readonly past?: Past;
}

/**
 * softmax(Q Kᵀ + bias) V, with Q already scaled: q [batch, heads, queries, headDim], k and v [batch, kvHeads, keys,
 * headDim] -> [batch*queries, heads*headDim]. Query heads that share a key head are folded into its rows, so keys and
 * values are never repeated; scores of cached keys are computed apart, so the cache is never copied.
 */
export function attention(
  net: Net,
  q: ShapedValue,
  k: ShapedValue,
  v: ShapedValue,
  options: AttentionOptions,
): ShapedValue {
  const { ops } = net;
  const { heads, kvHeads, headDim, queries, bias, past } = options;
  const { count } = queries;
  const folded = mulDim(heads / kvHeads, count);
  const unfold = (x: ShapedValue, last: ShapedValue['shape'][number]) => ops.reshape(x, ['batch', heads, count, last]);
  const fold = (x: ShapedValue) => ops.reshape(x, ['batch', kvHeads, folded, x.shape[3]!]);

  const rows = fold(q); // batch × kvHeads × (group·queries) × headDim
  const scores = (keys: ShapedValue, hide: ShapedValue | undefined) => {
    const all = unfold(ops.matmul(rows, ops.transpose(keys, [0, 1, 3, 2])), keys.shape[2]!);
    return hide ? ops.add(all, hide) : all;
  };

  const context = past ? withPast(past, scores(k, bias)) : ops.attend(fold(scores(k, bias)), v);

  function withPast(cached: Past, fresh: ShapedValue): ShapedValue {
    const p = ops.softmax(ops.concat([scores(cached.key, cached.bias), fresh], 3));
    const [old, now] = ops.split(p, 3, [cached.key.shape[2]!, k.shape[2]!]) as [ShapedValue, ShapedValue];
    return ops.add(ops.matmul(fold(old), cached.value), ops.matmul(fold(now), v));
  }

  const byToken = ops.transpose(unfold(context, headDim), [0, 2, 1, 3]); // batch × queries × heads × headDim
  return ops.reshape(byToken, [rowsOf(queries), heads * headDim]);
}
