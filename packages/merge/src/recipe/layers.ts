/** The repeated part of a network: tensors named `PREFIX.NUMBER.REST`, numbered from 0. */
export interface Layers {
  readonly prefix: string;
  readonly count: number;
}

const numbered = /^(.*?)\.(\d+)\.(.+)$/;

/** The largest family of numbered tensors: `model.layers` of a language model. Undefined when nothing is numbered. */
export function layersIn(names: Iterable<string>): Layers | undefined {
  const families = new Map<string, { tensors: number; count: number }>();
  for (const name of names) {
    const [, prefix, number] = numbered.exec(name) ?? [];
    if (prefix === undefined) continue;
    const { tensors, count } = families.get(prefix) ?? { tensors: 0, count: 0 };
    families.set(prefix, { tensors: tensors + 1, count: Math.max(count, Number(number) + 1) });
  }
  const [largest] = [...families].sort(([, a], [, b]) => b.tensors - a.tensors);
  return largest && { prefix: largest[0], count: largest[1].count };
}

/** The layer of a tensor, and its name within it; undefined for what lies outside the layers. */
export function layerOf(
  name: string,
  { prefix }: Layers,
): { readonly layer: number; readonly rest: string } | undefined {
  const [, own, number, rest] = numbered.exec(name) ?? [];
  return own === prefix ? { layer: Number(number), rest: rest! } : undefined;
}

/**
 * How deep a layer lies, for lists of values: from 0 to 1. As in mergekit the only layer of a slice is at 1, and tensors
 * outside the layers (embeddings, but also the head and the last norm) are at 0.
 */
export const depth = (layer: number | undefined, count: number): number =>
  layer === undefined ? 0 : count === 1 ? 1 : layer / (count - 1);

/** Whether a tensor outside the layers comes before them, by the names that embeddings have. */
export const isBeforeLayers = (name: string): boolean => /(^|[._])(embed\w*|wte|wpe|patch_embed\w*)([._]|$)/.test(name);

/** The number in a tensor's own name: that of its layer. */
export const numberIn = (name: string): number | undefined => {
  const [, , number] = numbered.exec(name) ?? [];
  return number === undefined ? undefined : Number(number);
};
