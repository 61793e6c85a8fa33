import { elementCount, type GraphSite, type Ops, type Params, type ShapedValue } from '@peftjs/core';
import type { SaraSettings } from './config.js';
import { type Entries, oneNorm } from './nuclear.js';

// v [k] at the flat indices i64 [k] of W: what is trained. fixed, fixedIndices: what an earlier phase left.

const sizeOf = ({ shape }: ShapedValue): number => elementCount(shape.map(Number));

/** W + ΔW: the values are added at their indices, so the gradient of a value is that of its number of W. */
export function patched(W: ShapedValue, p: Params<ShapedValue>, ops: Ops): ShapedValue {
  const flat = ops.reshape(W, [sizeOf(W)]);
  const before = p.fixed ? ops.scatterAdd(flat, p.fixedIndices!, p.fixed) : flat;
  return ops.reshape(ops.scatterAdd(before, p.indices!, p.v!), W.shape);
}

/** P ⊙ M: the trained numbers as they are now. */
const trainedNumbers = (W: ShapedValue, p: Params<ShapedValue>, ops: Ops): Entries => ({
  shape: W.shape,
  indices: p.indices!,
  values: ops.gather(ops.reshape(patched(W, p, ops), [sizeOf(W)]), p.indices!),
});

/** ΔP: what the trained numbers and those of an earlier phase have changed. */
const changedNumbers = (W: ShapedValue, p: Params<ShapedValue>, ops: Ops): Entries => ({
  shape: W.shape,
  indices: p.fixed ? ops.concat([p.fixedIndices!, p.indices!], 0) : p.indices!,
  values: p.fixed ? ops.concat([p.fixed, p.v!], 0) : p.v!,
});

/**
 * λ ‖·‖_* of one weight a step (Hu et al. 2024, section 4.2). The paper takes the norm of the change ΔP; its code that of
 * the trained numbers P ⊙ M themselves, which draws them to zero.
 */
export function pull(
  sites: readonly (GraphSite<SaraSettings> & { readonly parameters: Params<ShapedValue> })[],
  { lambdaRank, rankAbove, pull: whose }: SaraSettings,
  ops: Ops,
): ShapedValue | undefined {
  const pulled = sites.filter(({ parameters: { weight: W } }) =>
    W?.shape.every((extent) => Number(extent) > rankAbove),
  );
  const [first] = pulled;
  if (!first || lambdaRank === 0) return undefined;
  const numbers = whose === 'weights' ? trainedNumbers : changedNumbers;
  const matrices = pulled.map(({ parameters, p }) => numbers(parameters.weight!, p, ops));
  return ops.mul(oneNorm(matrices, first.s.turn!, ops), lambdaRank);
}
