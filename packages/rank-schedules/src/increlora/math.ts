import type { Ops, Params, ShapedValue } from '@peftjs/core';

// Slot i holds one piece of rank 1: row i of a (slots × in), row i of b (slots × out) and e[i]. `grown` and `present`
// [slots] are 1 for the pieces of the present rank, and for these and the reserves. `spare` [] is the E of reserves.

/** In the scale's denominator, as in the authors' code. */
const tiny = 1e-5;

/** What E is where nothing has trained it: small enough not to change the model, and not zero, so that A and B learn. */
export const reserveE = 1e-5;

/** s = α / rank: it falls when a module grows (Zhang et al. 2023, section 3.2; the code adds 1e-5 to the rank). */
export const scale = (alpha: number, rank: number): number => alpha / (rank + tiny);

/** s E: [slots], zero for absent pieces. Only the E of grown ones has a gradient. */
function weights({ e, grown, present, spare }: Params<ShapedValue>, alpha: number, ops: Ops): ShapedValue {
  const rank = ops.sum(grown!, [0]);
  const s = ops.mul(ops.reciprocal(ops.add(rank, tiny)), alpha);
  const E = ops.add(ops.mul(e!, grown!), ops.mul(ops.sub(present!, grown!), spare!));
  return ops.mul(E, s);
}

/** ΔW = s B diag(E) A: out × in (eq. 4). */
export const delta = (p: Params<ShapedValue>, alpha: number, ops: Ops): ShapedValue => {
  const scaled = ops.mul(p.a!, ops.unsqueeze(weights(p, alpha, ops), [1]));
  return ops.matmul(ops.transpose(p.b!, [1, 0]), scaled);
};

/** x ΔWᵀ without forming ΔW: [rows, in] -> [rows, out]. */
export const apply = (x: ShapedValue, p: Params<ShapedValue>, alpha: number, ops: Ops): ShapedValue =>
  ops.gemm(ops.mul(ops.gemm(x, p.a!, undefined, { transB: true }), weights(p, alpha, ops)), p.b!);

/** S = Σ |ΔW ⊙ ∂L/∂W| / √(in · out): [] (eq. 6). Both lie as (out, in), or both the other way. */
export function score(change: ShapedValue, dW: ShapedValue, ops: Ops): ShapedValue {
  const [m, n] = change.shape as readonly [number, number];
  const sum = ops.sum(ops.abs(ops.mul(change, dW)), [0, 1], { keepdims: false });
  return ops.mul(sum, 1 / Math.sqrt(m * n));
}

/** ‖(P Pᵀ - I) ⊙ mask‖_F: []. */
function distance(P: ShapedValue, mask: ShapedValue | undefined, ops: Ops): ShapedValue {
  const size = Number(P.shape[0]);
  const identity = ops.constant({
    dtype: 'f32',
    shape: [size, size],
    data: Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0)),
  });
  const off = ops.sub(ops.gemm(P, P, undefined, { transB: true }), identity);
  const kept = mask ? ops.mul(off, mask) : off;
  // So that the root has a slope at zero.
  return ops.sqrt(ops.add(ops.sum(ops.mul(kept, kept), [0, 1], { keepdims: false }), 1e-30));
}

/** R(P) = ‖P Pᵀ - I‖_F over the present pieces (eq. 5): []. */
export function orthogonal(P: ShapedValue, present: ShapedValue, ops: Ops): ShapedValue {
  const mask = ops.mul(ops.unsqueeze(present, [1]), ops.unsqueeze(present, [0]));
  return distance(P, mask, ops);
}

/** The authors' code: the first r pieces as one matrix, every later one alone: Σ R: []. */
export function apart(P: ShapedValue, present: ShapedValue, r: number, ops: Ops): ShapedValue {
  const slots = P.shape[0]!;
  const later = ops.slice(P, 0, r, slots);
  const norms = ops.sum(ops.mul(later, later), [1], { keepdims: false });
  const off = ops.mul(ops.abs(ops.sub(norms, 1)), ops.slice(present, 0, r, slots));
  return ops.add(distance(ops.slice(P, 0, 0, r), undefined, ops), ops.sum(off, [0], { keepdims: false }));
}
