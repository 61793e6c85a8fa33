import type { Adapter } from '../../delta/delta.js';
import type { Problems } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { moduleOf, savedModules } from './describe.js';
import { parameterKey } from './keys.js';

/**
 * Parameters in full for layouts that know them as `modules_to_save` alone: its entries, and the tensors.
 * @param given keys of the configuration it was read with
 */
export function fullModules(
  { replaced }: Adapter,
  adapted: { has(module: string): boolean },
  given: Readonly<Record<string, unknown>>,
  problems: Problems,
): { readonly modules: readonly string[] | null; readonly tensors: ReadonlyMap<string, TensorRef> } {
  for (const path of replaced.keys())
    if (adapted.has(moduleOf(path)))
      problems.add(`"${path}" is replaced in full in a module that changes otherwise too.`);
  const { listed, rest } = savedModules([...replaced.keys()], given);
  const modules = [...listed, ...new Set(rest.map(moduleOf))];
  const tensors = new Map([...replaced].map(([path, ref]) => [parameterKey(path, false), ref]));
  return { modules: modules.length > 0 ? modules : null, tensors };
}

/**
 * `bias` and `modules_to_save` that account for everything replaced.
 * @param modules those that are adapted
 * @param own what `bias` is where theirs are trained
 */
export function fullParameters(
  adapter: Adapter,
  modules: readonly string[],
  given: Readonly<Record<string, unknown>>,
  own: `${string}_only`,
): Record<string, unknown> {
  const adapted = new Set(modules);
  const isOwnBias = (path: string) => path.endsWith('.bias') && adapted.has(moduleOf(path));
  const isOwnWeight = (path: string) => path.endsWith('.weight') && adapted.has(moduleOf(path)); // a resized embedding
  const { listed, rest: unnamed } = savedModules([...adapter.replaced.keys()], given);
  const rest = unnamed.filter((path) => !isOwnWeight(path));
  const all = given.bias === 'all';
  const only = rest.some(isOwnBias) || (typeof given.bias === 'string' && given.bias.endsWith('_only'));
  const unlisted = rest.filter((path) => !isOwnBias(path) && !(all && path.includes('bias')));
  const saved = [...listed, ...new Set(unlisted.map(moduleOf))];
  return { bias: all ? 'all' : only ? own : 'none', modules_to_save: saved.length > 0 ? saved : null };
}
