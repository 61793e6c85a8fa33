import { join } from 'node:path';
import { type Listed, readJson } from '../case.js';
import { listed } from '../kinds.js';

interface Entry {
  readonly id: string;
  readonly path: string;
  readonly method?: string;
  readonly group?: string;
}

const manifest = async (root: string): Promise<readonly Entry[]> =>
  ((await readJson(root, 'manifest.json')) as { cases: Entry[] }).cases;

/** Merges (kind `merge/<method>`) and the compression of deltas (kind `compression/<group>`), from their manifests. */
export async function* cases(folder: string): AsyncGenerator<Listed> {
  const merge = join(folder, 'merge');
  for (const { id, path, method } of await manifest(merge)) {
    yield await listed(merge, join(merge, path), `merge/${method}`, id);
  }
  const compression = join(merge, 'compression');
  for (const { id, path, group } of await manifest(compression)) {
    yield await listed(compression, join(compression, path), `compression/${group}`, id);
  }
}
