import { PeftError, type Random, type Target } from '@peftjs/core';

type Sites = readonly { readonly target: Target }[];

/**
 * The numbers of the layers that have targets, ascending.
 * @throws PeftError TARGETS_UNMATCHED when no target is in a layer
 */
export function layersOf(sites: Sites): number[] {
  const layers = new Set(sites.flatMap(({ target: { layer } }) => (layer === undefined ? [] : [layer])));
  if (layers.size === 0)
    throw new PeftError(
      'TARGETS_UNMATCHED',
      `ist: none of the ${sites.length} targets (${sites[0]?.target.path}, ...) is in a numbered layer: choose other targetModules.`,
    );
  return [...layers].sort((a, b) => a - b);
}

/** How many of `layers` a part is, at least one. */
export const countOf = (part: number, layers: number): number => Math.max(1, Math.floor(part * layers));

/** Draws `count` distinct indices, each with a probability in proportion to its weight among those left. */
export function drawWithout(weights: readonly number[], count: number, rng: Random): number[] {
  const left = [...weights.keys()];
  const uniform = rng.uniform([count]).data as Float32Array;
  return Array.from({ length: count }, (_, k) => {
    const sum = left.reduce((total, i) => total + weights[i]!, 0);
    let rest = uniform[k]! * sum;
    const found = left.findIndex((i) => {
      rest -= weights[i]!;
      return rest < 0;
    });
    return left.splice(found < 0 ? left.length - 1 : found, 1)[0]!;
  });
}
