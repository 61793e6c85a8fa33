import { elementCount, type Ops, type ShapedValue, sameShape } from '@peftjs/core';

/** Coefficients of two odd polynomials that drive singular values to 1: the first fast and roughly, the second exactly. */
const fast = [3.4445, -4.775, 2.0315] as const;
const exact = [1.5, -0.5, 0] as const;
const steps = [...Array<typeof fast>(6).fill(fast), ...Array<typeof exact>(5).fill(exact)];

/**
 * U Vᵀ of X = U Σ Vᵀ without a decomposition: X / ‖X‖_F, then X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X (Newton-Schulz).
 * Directions with a singular value under about 1e-3 ‖X‖_F come out shorter than 1.
 */
export function polar(x: ShapedValue, ops: Ops): ShapedValue {
  const [rows, columns] = x.shape.map(Number) as [number, number];
  if (rows > columns) return ops.transpose(polar(ops.transpose(x, [1, 0]), ops), [1, 0]);
  const norm = ops.sqrt(ops.sum(ops.mul(x, x), [0, 1], { keepdims: false }));
  let y = ops.div(x, ops.max(norm, 1e-30));
  for (const [a, b, c] of steps) {
    const gram = ops.gemm(y, y, undefined, { transB: true });
    const factor = c === 0 ? ops.mul(gram, b) : ops.add(ops.mul(gram, b), ops.mul(ops.matmul(gram, gram), c));
    y = ops.add(ops.mul(y, a), ops.matmul(factor, y));
  }
  return y;
}

/** ‖X‖_* = ⟨U Vᵀ, X⟩, whose gradient is U Vᵀ. [] */
export function nuclearNorm(x: ShapedValue, ops: Ops): ShapedValue {
  const direction = polar(x, ops);
  const norm = ops.sum(ops.mul(direction, x), [0, 1], { keepdims: false });
  return ops.macro(norm, [x], (d) => [ops.mul(direction, d)]);
}

/** A matrix that is zero but for `values` [k] at the flat `indices` i64 [k]; equal indices add up. */
export interface Entries {
  readonly shape: ShapedValue['shape'];
  readonly indices: ShapedValue;
  readonly values: ShapedValue;
}

/**
 * The nuclear norm of one of these matrices: number ⌊u · count⌋. The values of all of one shape are gated and added into
 * one matrix, so each shape costs one matrix and one norm, whatever the number of its matrices.
 * @param u in [0, 1), []
 */
export function oneNorm(matrices: readonly Entries[], u: ShapedValue, ops: Ops): ShapedValue {
  const chosen = ops.floor(ops.mul(u, matrices.length));
  const gated = matrices.map(({ values, ...rest }, i) => {
    const gate = ops.cast(ops.equal(chosen, ops.scalar(i)), 'f32');
    return { ...rest, values: ops.mul(values, gate) };
  });
  const shapes = gated.filter(({ shape }, i) => gated.findIndex((one) => sameShape(one.shape, shape)) === i);
  const norms = shapes.map(({ shape }) => {
    const own = gated.filter((one) => sameShape(one.shape, shape));
    const [indices, values] = (['indices', 'values'] as const).map((part) =>
      ops.concat(
        own.map((one) => one[part]),
        0,
      ),
    ) as [ShapedValue, ShapedValue];
    const zeros = ops.fill([elementCount(shape.map(Number))], 0);
    return nuclearNorm(ops.reshape(ops.scatterAdd(zeros, indices, values), shape), ops);
  });
  return norms.reduce((a, b) => ops.add(a, b));
}
