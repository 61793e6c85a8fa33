import { join } from 'node:path';
import { adapterFolders } from '../adapted.js';
import { type Listed, readJson } from '../case.js';
import { listed } from '../kinds.js';

interface Entry {
  readonly name: string;
  readonly kind: string;
}

/** Training methods: `methods/index.json`, one folder a case; its adapters by themselves are a case of their own. */
export async function* cases(folder: string): AsyncGenerator<Listed> {
  const root = join(folder, 'methods');
  for (const { name, kind } of (await readJson(root, 'index.json')) as Entry[]) {
    const path = join(root, 'cases', name);
    yield await listed(root, path, kind, name);
    if (adapterFolders(path).some((folder) => /^(adapter_(start|end|end_converted)|export_.*)$/.test(folder)))
      yield await listed(root, path, 'adapter-files', `${name}/files`);
  }
}
