import type { Adapter, Term } from '../delta/delta.js';
import { PeftError } from '../errors.js';
import type { Target } from './target.js';

/** Every name of a target, its own path first. */
export const namesOf = ({ path, aliases = [] }: Target): readonly string[] => [path, ...aliases];

/**
 * An adapter as it is called in a model: what it says of a module by one of its aliases stands under the module's own
 * path. The same adapter where no alias occurs.
 * @throws PeftError DELTA_CONFLICT for a parameter that it replaces under two names
 */
export function underOwnPaths<A extends Pick<Adapter, 'delta' | 'replaced'>>(adapter: A, targets: Iterable<Target>): A {
  const own = new Map([...targets].flatMap(({ path, aliases = [] }) => aliases.map((alias) => [alias, path] as const)));
  const { delta, replaced } = adapter;
  const parameters = [delta.shape, delta.params, replaced].flatMap((map) => [...map.keys()]);
  if (!parameters.some((path) => own.has(moduleOf(path)))) return adapter;
  const renamed = <T>(map: ReadonlyMap<string, T>) =>
    new Map([...map].map(([path, value]) => [rename(path, own), value]));
  const params = new Map<string, readonly Term[]>();
  for (const [path, terms] of delta.params) {
    const name = rename(path, own);
    params.set(name, [...(params.get(name) ?? []), ...terms]); // updates of one parameter add
  }
  const replacements = renamed(replaced);
  if (replacements.size < replaced.size)
    throw new PeftError('DELTA_CONFLICT', `An adapter replaces a parameter twice: ${[...replaced.keys()].join(', ')}.`);
  return { ...adapter, delta: { shape: renamed(delta.shape), params }, replaced: replacements };
}

const moduleOf = (parameter: string): string => parameter.slice(0, parameter.lastIndexOf('.'));

/** A parameter's path with its module called otherwise, where `names` has another name for it. */
export function rename(parameter: string, names: ReadonlyMap<string, string>): string {
  const module = moduleOf(parameter);
  return `${names.get(module) ?? module}${parameter.slice(module.length)}`;
}
