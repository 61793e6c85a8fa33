import { type Kind, type Listed, openCase } from './case.js';
import { modulesIn } from './modules.js';

let loaded: Promise<Map<string, Kind>> | undefined;

/** The kinds this project knows: the modules of `kinds/`. */
const kinds = (): Promise<Map<string, Kind>> => {
  loaded ??= modulesIn<Kind>(new URL('./kinds/', import.meta.url));
  return loaded;
};

/** A case with its folder, runnable when its kind is known: by its own name, or by the family before a slash. */
export async function listed(root: string, path: string, kind: string, name: string): Promise<Listed> {
  const known = await kinds();
  const module = known.get(kind) ?? known.get(kind.split('/')[0]!);
  if (!module) return { kind, name };
  return { kind, name, run: async (context) => module.run(await openCase(root, path), context) };
}
