import type { Ops, ShapedValue } from '@peftjs/core';

// Chen et al. 2023, section 3.2: W ⊙ S₁ + s (U V + S₂) with u: out × r, v: r × in; S₂ has its N values s2 [N] at
// `rows` and `columns`, i64 [N].

export interface Update {
  readonly u: ShapedValue;
  readonly v: ShapedValue;
  readonly s2: ShapedValue;
  readonly rows: ShapedValue;
  readonly columns: ShapedValue;
}

/** [k, extent]: 1 where an index stands. */
function oneHot(indices: ShapedValue, extent: number, ops: Ops): ShapedValue {
  const places = ops.constant({
    dtype: 'i64',
    shape: [1, extent],
    data: BigInt64Array.from({ length: extent }, (_, i) => BigInt(i)),
  });
  return ops.cast(ops.equal(ops.unsqueeze(indices, [1]), places), 'f32');
}

/** x[:, columns], one column for each entry: those that entries share come several times. */
const picked = (x: ShapedValue, columns: ShapedValue, ops: Ops): ShapedValue =>
  ops.macro(ops.gather(x, columns, 1), [x], (d) => [ops.matmul(d, oneHot(columns, Number(x.shape[1]), ops))]);

/** The inverse way round: every column is added to the row of its entry, [rows, N] -> [rows, out]. */
const placed = (h: ShapedValue, rows: ShapedValue, out: number, ops: Ops): ShapedValue =>
  ops.macro(ops.matmul(h, oneHot(rows, out, ops)), [h], (d) => [ops.gather(d, rows, 1)]);

/** s x (U V + S₂)ᵀ without forming a matrix: [rows, in] -> [rows, out]. */
export function apply(x: ShapedValue, { u, v, s2, rows, columns }: Update, s: number, ops: Ops): ShapedValue {
  const low = ops.gemm(ops.gemm(x, v, undefined, { transB: true }), u, undefined, { transB: true, alpha: s });
  const entries = ops.mul(picked(x, columns, ops), ops.mul(s2, s));
  return ops.add(low, placed(entries, rows, Number(u.shape[0]), ops));
}

/** W ⊙ S₁, in the layout of W; S₁ u8. */
export const masked = (W: ShapedValue, s1: ShapedValue, ops: Ops): ShapedValue => ops.mul(W, ops.cast(s1, 'f32'));
