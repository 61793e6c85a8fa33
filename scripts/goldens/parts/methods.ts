import { join } from 'node:path';
import { type Listed, readJson } from '../case.js';
import { listed } from '../kinds.js';

interface Entry {
  readonly name: string;
  readonly kind: string;
}

/** Training methods: `methods/index.json`, one folder a case. */
export async function* cases(folder: string): AsyncGenerator<Listed> {
  const root = join(folder, 'methods');
  for (const { name, kind } of (await readJson(root, 'index.json')) as Entry[]) {
    yield await listed(root, join(root, 'cases', name), kind, name);
  }
}
