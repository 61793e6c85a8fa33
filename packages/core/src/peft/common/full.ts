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
