import { elementCount, randomAlgorithm, type Tensor, type Term, tensorRef } from '@peftjs/core';
import { type Extents, endWords } from './math.js';
import type { Seed } from './source.js';

/** How the signs of a term follow from its seed. Anything that changes one of them needs a new version. */
export const version = 1;

/** What P is made from: the seed, and how many rows and columns it has. */
export interface Description extends Extents {
  readonly seed: Seed;
}

/** The parameter's shape with the first and last words of its signs: another generator shows in the words. */
export function fingerprint(seed: Seed, dimension: number, shape: readonly number[]): string {
  const words = endWords(seed, { numbers: elementCount(shape), dimension });
  return `${shape.join('x')} ${Array.from(words, (word) => word.toString(16).padStart(8, '0')).join('')}`;
}

/** ΔW = scale · P d, of which d and the seed of P are kept. */
export const subspaceTerm = (
  d: Tensor,
  { seed, scale, shape }: { readonly seed: Seed; readonly scale: number; readonly shape: readonly number[] },
): Term => ({
  kind: 'subspace',
  tensors: { d: tensorRef(d) },
  meta: {
    algorithm: randomAlgorithm,
    version,
    seed: String(seed),
    fingerprint: fingerprint(seed, d.shape[0]!, shape),
    scale,
  },
});

/** What a term without problems says of itself, for a parameter of this shape. */
export const describe = ({ meta, tensors }: Term, shape: readonly number[]): Description => ({
  seed: BigInt(String(meta.seed)),
  numbers: elementCount(shape),
  dimension: tensors.d!.shape[0]!,
});
