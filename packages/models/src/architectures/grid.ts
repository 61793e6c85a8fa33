import { type Dim, mulDim, type ShapedValue } from '@peftjs/core/graph';
import type { Net } from './net.js';

/**
 * Tokens laid out as [batch, count]. `segment` numbers the sequence a token belongs to (0 is padding), `position` its
 * place in it; both i64 [batch, count], and absent where every row is one whole sequence (the patches of an image).
 */
export interface Grid {
  readonly count: Dim;
  readonly segment?: ShapedValue;
  readonly position?: ShapedValue;
}

/** A grid whose rows hold several sequences, or padding. */
export type TextGrid = Required<Grid>;

export const rowsOf = (grid: Grid) => mulDim('batch', grid.count);

/** A value of one number a token as a column of rows: [batch, count] -> [batch*count]. */
export const flat = (net: Net, x: ShapedValue): ShapedValue => net.ops.reshape(x, [mulDim(x.shape[0]!, x.shape[1]!)]);

/** Declares the inputs that every text model has. */
export function tokenInputs(net: Net): { ids: ShapedValue; grid: TextGrid } {
  const i64 = (name: string) => net.ops.input(name, 'i64', ['batch', 'length']);
  const ids = flat(net, i64('input_ids'));
  return { ids, grid: { count: 'length', segment: i64('attention_mask'), position: i64('position_ids') } };
}

/** The rows that are read: which they are, as a grid and as flat indices i64 [batch*reads] into batch*length rows. */
export interface Reads {
  readonly grid: Grid;
  readonly indices: ShapedValue;
}

export function readInputs(net: Net, from: Grid): Reads {
  const { ops } = net;
  const read = ops.input('read', 'i64', ['batch', 'reads']);
  const pick = (x: ShapedValue) => ops.gather(flat(net, x), read);
  return {
    grid: {
      count: 'reads',
      ...(from.segment && { segment: pick(from.segment) }),
      ...(from.position && { position: pick(from.position) }),
    },
    indices: flat(net, read),
  };
}

/** Rows of x [batch*length, width] that are read; all of them when there is no `reads`. */
export const narrow = (net: Net, x: ShapedValue, reads: Reads | undefined): ShapedValue =>
  reads ? net.ops.gather(x, reads.indices) : x;

/** What hides a key from a query: added to the scores, so small that its probability is exactly zero in f32. */
const hidden = -1e9;

const biasOf = (net: Net, seen: ShapedValue): ShapedValue =>
  net.ops.where(seen, net.ops.scalar(0), net.ops.scalar(hidden));

/**
 * 0 where a query sees a key and -1e9 elsewhere, [batch, 1, queries, keys]; undefined where all see all. A token sees
 * the tokens of its own sequence, under `causal` those at its own position or before.
 */
export function attentionBias(net: Net, queries: Grid, keys: Grid, causal: boolean): ShapedValue | undefined {
  const { ops } = net;
  const q = (x: ShapedValue) => ops.unsqueeze(x, [1, 3]);
  const k = (x: ShapedValue) => ops.unsqueeze(x, [1, 2]);
  if (!queries.segment || !keys.segment) return undefined;
  const same = ops.equal(q(queries.segment), k(keys.segment));
  return biasOf(net, causal ? ops.and(same, ops.lessOrEqual(k(keys.position!), q(queries.position!))) : same);
}

/** The same for cached keys: mask i64 [batch, past] (1 is a token, 0 an unused place) -> [batch, 1, 1, past]. */
export const pastBias = (net: Net, mask: ShapedValue): ShapedValue =>
  biasOf(net, net.ops.unsqueeze(net.ops.greater(mask, 0), [1, 2]));
