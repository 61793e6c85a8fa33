import { readdir } from 'node:fs/promises';
import { type Kind, type Listed, openCase } from './case.js';
import { modulesIn } from './modules.js';

let loaded: Promise<Map<string, Kind>> | undefined;

const root = new URL('./kinds/', import.meta.url);

async function load(): Promise<Map<string, Kind>> {
  const all = await modulesIn<Kind>(root);
  const folders = (await readdir(root, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  for (const { name } of folders)
    for (const [kind, module] of await modulesIn<Kind>(new URL(`${name}/`, root))) all.set(`${name}/${kind}`, module);
  return all;
}

/** The kinds this project knows: the modules of `kinds/`, and `FAMILY/KIND` for those of its folders. */
const kinds = (): Promise<Map<string, Kind>> => {
  loaded ??= load();
  return loaded;
};

/** A case with its folder, runnable when its kind is known: by its own name, or by the family before a slash. */
export async function listed(root: string, path: string, kind: string, name: string): Promise<Listed> {
  const known = await kinds();
  const module = known.get(kind) ?? known.get(kind.split('/')[0]!);
  if (!module) return { kind, name };
  return { kind, name, run: async (context) => module.run(await openCase(root, path, context), context) };
}
