import { elementCount, type Target, type TensorRef } from '@peftjs/core';
import type { DseeSettings } from './config.js';
import { groupsOf, isUpdated, removedFrom } from './roles.js';

export interface Flops {
  /** Of the base. */
  readonly before: number;
  readonly after: number;
}

/**
 * Floating-point operations that the targets take for one token, a multiplication and an addition being two: before
 * Σ 2 m n over their m × n weights; after Σ 2 (entries that S₁ keeps), and for each update 2 r (m + n) + 2 N. What attends, the
 * embeddings, and whatever is no target is left out; zeros are counted as skipped, which needs a sparse runtime.
 */
export function inferenceFlops(sites: readonly { readonly target: Target; readonly c: DseeSettings }[]): Flops {
  const before = sites.reduce((sum, { target }) => sum + 2 * target.in * target.out, 0);
  const removed = groupsOf(sites).reduce((sum, group) => sum + removedFrom(group), 0);
  const updates = sites
    .filter(({ target, c }) => isUpdated(target, c))
    .reduce((sum, { target, c }) => sum + 2 * c.r * (target.in + target.out) + 2 * c.entries, 0);
  return { before, after: before - 2 * removed + updates };
}

/**
 * The same for the linear layers of a model as large as their weights are: Σ 2 m n. With the parameters of a model that
 * has lost heads and channels, what is left.
 */
export const linearFlops = (
  targets: readonly Pick<Target, 'kind' | 'path'>[],
  parameters: ReadonlyMap<string, Pick<TensorRef, 'shape'>>,
): number =>
  targets
    .filter(({ kind }) => kind === 'linear' || kind === 'conv1d')
    .reduce((sum, { path }) => sum + 2 * elementCount(parameters.get(`${path}.weight`)!.shape), 0);
