import { readCompressed } from '@peftjs/core';
import type { Plugins } from '../plugins.js';
import { dtypesOf, type Found, ranksOf } from './found.js';

/** A file of `peft compress`. */
export async function inspectCompressed(path: string, { codecs }: Plugins): Promise<Found> {
  const { adapter, codec, bytes, ratio, density } = await readCompressed(path, { codecs });
  const terms = [...adapter.delta.params.values()].flat();
  const refs = [...terms.flatMap(({ tensors }) => Object.values(tensors)), ...adapter.replaced.values()];
  return {
    kind: 'compressed-adapter',
    codec,
    method: adapter.method?.name ?? null,
    base: adapter.base ?? null,
    task: adapter.task ?? null,
    tensors: refs.length,
    parameters: adapter.delta.params.size + adapter.replaced.size,
    kinds: [...new Set(terms.map(({ kind }) => kind))],
    ranks: ranksOf(adapter),
    density,
    ratio,
    replaced: [...adapter.replaced.keys()],
    dtypes: dtypesOf(refs),
    bytes,
    digest: adapter.digest,
    problems: [],
  };
}
