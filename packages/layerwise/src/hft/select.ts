import type { Random, Target } from '@peftjs/core';

export type Category = 'attention' | 'feed-forward' | 'norm';

const attention: readonly Target['role'][] = ['query', 'key', 'value', 'query-key-value', 'output'];

const categoryOf = ({ kind, role }: Target): Category =>
  kind === 'vector' ? 'norm' : attention.includes(role) ? 'attention' : 'feed-forward';

/** The longest start that the paths have in common, up to and with a dot. */
function commonStart(paths: readonly string[]): string {
  let start = paths[0]!;
  for (const path of paths) while (!path.startsWith(start)) start = start.slice(0, -1);
  return start.slice(0, start.lastIndexOf('.') + 1);
}

/**
 * The targets of every layer. Norms do not say their layer: it is the one whose modules they lie between. What is in no
 * layer (embeddings, the last norm, the head) is left out.
 */
export function layersOf(targets: readonly Target[]): Target[][] {
  const layers = new Map<number, Target[]>();
  for (const target of targets) {
    if (target.layer === undefined || target.head) continue;
    layers.set(target.layer, [...(layers.get(target.layer) ?? []), target]);
  }
  const starts = [...layers].map(([layer, own]) => ({ layer, start: commonStart(own.map(({ path }) => path)) }));
  for (const target of targets) {
    if (target.layer !== undefined || target.kind !== 'vector') continue;
    const owners = starts.filter(({ start }) => start !== '' && target.path.startsWith(start));
    if (owners.length === 1) layers.get(owners[0]!.layer)!.push(target);
  }
  return [...layers].sort(([a], [b]) => a - b).map(([, own]) => own);
}

/**
 * How many of `size` modules each layer trains: size · ratio, where that is no whole number the larger number in as many
 * layers, drawn at random, as it takes (of three feed-forward matrices two in one half of the layers, one in the other).
 */
export function shares(layers: number, size: number, ratio: number, rng: Random): number[] {
  const least = Math.floor(size * ratio);
  const more = Math.round(layers * (size * ratio - least));
  const lucky = new Set(rng.permutation(layers).subarray(0, more));
  return Array.from({ length: layers }, (_, layer) => least + (lucky.has(layer) ? 1 : 0));
}

/** The paths of the modules that a round trains: in every layer a part of each category (section 2.2 of the paper). */
export function half(targets: readonly Target[], ratio: number, rng: Random): Set<string> {
  const chosen = new Set<string>();
  const layers = layersOf(targets);
  for (const category of ['attention', 'feed-forward', 'norm'] as const) {
    const groups = layers.map((own) => own.filter((target) => categoryOf(target) === category));
    for (const size of new Set(groups.map(({ length }) => length))) {
      const alike = groups.filter(({ length }) => length === size);
      const counts = shares(alike.length, size, ratio, rng.fork(category, size));
      alike.forEach((group, i) => {
        const order = rng.fork(category, size, i).permutation(size);
        for (const at of order.subarray(0, counts[i])) chosen.add(group[at]!.path);
      });
    }
  }
  return chosen;
}
