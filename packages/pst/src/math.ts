import { elementCount, type Ops, type ShapedValue } from '@peftjs/core';

// U: rows × r, V: r × columns, A: rows × k, B: k × columns, R: [rows], C: [columns], all in the weight's own layout.

/** W' = W + β U V (Li et al. 2022, eq. 4). */
export const updated = (W: ShapedValue, u: ShapedValue, v: ShapedValue, beta: number, ops: Ops): ShapedValue =>
  ops.add(W, ops.mul(ops.matmul(u, v), beta));

export interface ScoreParts {
  readonly a: ShapedValue;
  readonly b: ShapedValue;
  readonly r: ShapedValue;
  readonly c: ShapedValue;
}

/** S = |W'| + α₁ A B + α₂ (R 1ᵀ + 1 Cᵀ): magnitude and learned importance (eq. 7). */
export function scores(
  changed: ShapedValue,
  { a, b, r, c }: ScoreParts,
  { alpha1, alpha2 }: { readonly alpha1: number; readonly alpha2: number },
  ops: Ops,
): ShapedValue {
  const structure = ops.mul(ops.add(ops.unsqueeze(r, [1]), ops.unsqueeze(c, [0])), alpha2);
  return ops.add(ops.add(ops.abs(changed), ops.mul(ops.matmul(a, b), alpha1)), structure);
}

/** How many of n numbers a sparsity takes away: ⌊n s⌋ in float32, so that a graph and a program count alike. */
export const prunedCount = (n: number, sparsity: number): number => Math.floor(Math.fround(Math.fround(sparsity) * n));

/**
 * M: 1 for the numbers that stay, 0 for the ⌊n s⌋ with the lowest scores, exactly as many whatever is equal. Its
 * gradient goes to the scores as it is (straight through, eq. 8).
 * @param s the sparsity, []
 */
export function mask(score: ShapedValue, s: ShapedValue, ops: Ops): ShapedValue {
  const n = elementCount(score.shape.map(Number));
  const pruned = ops.floor(ops.mul(s, n));
  const kept = ops.reshape(ops.cast(ops.sub(ops.scalar(n), pruned), 'i64'), [1]);
  const flat = ops.reshape(score, [n]);
  const [, indices] = ops.node(
    'TopK',
    [flat, kept],
    [
      { dtype: 'f32', shape: ['kept'] },
      { dtype: 'i64', shape: ['kept'] },
    ],
    { axis: { type: 'int', value: 0 }, sorted: { type: 'int', value: 0 } },
  ) as [ShapedValue, ShapedValue];
  const ones = ops.cast(ops.greaterOrEqual(indices, ops.scalar(0, 'i64')), 'f32');
  const chosen = ops.scatterElementsAdd(ops.fill([n], 0), indices, ones, 0);
  return ops.macro(ops.reshape(chosen, score.shape), [score], (d) => [d]);
}
