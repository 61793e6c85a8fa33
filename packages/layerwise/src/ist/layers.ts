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

/** Draws for each set: few layers have no more sets, and then a look makes do with those that there are. */
const patience = 16;

/** Up to `count` sets of which no two have the same members: a set that was there before is drawn again. */
export function distinct(
  count: number,
  draw: (place: number, attempt: number) => readonly number[],
): (readonly number[])[] {
  const sets = new Map<string, readonly number[]>();
  for (let attempt = 0; sets.size < count && attempt < count * patience; attempt++) {
    const drawn = draw(sets.size, attempt);
    const members = `${[...drawn].sort((a, b) => a - b)}`;
    if (!sets.has(members)) sets.set(members, drawn);
  }
  return [...sets.values()];
}
