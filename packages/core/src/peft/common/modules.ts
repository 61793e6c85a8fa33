import { matchModules } from '../../adapter/match.js';
import { PeftError, Problems } from '../../errors.js';
import type { BaseFacts, LayoutInput } from '../layout.js';
import { rulesOfFile, type SharedFile } from './config.js';

/** Whether configuration and file speak of the same modules. */
export function checkTargets(
  file: SharedFile,
  modules: { has(module: string): boolean; keys(): Iterable<string> },
  { base, warn, subject }: LayoutInput,
  problems: Problems,
): void {
  const rules = rulesOfFile(file);
  if (!rules) return; // PEFT takes the names from the architecture
  const targets = new Map(base.targets?.map((target) => [target.path, target]));
  const matrices = [...(base.parameters ?? [])].filter(
    ([path, { shape }]) => path.endsWith('.weight') && shape.length >= 2,
  );
  const known = base.targets ? [...targets.keys()] : matrices.map(([path]) => path.slice(0, -'.weight'.length));
  const everything = typeof rules.targetModules === 'string' && rules.targetModules.toLowerCase() === 'all-linear';
  const linear = (path: string) => {
    const target = targets.get(path);
    return target ? (target.kind === 'linear' || target.kind === 'conv1d') && target.head !== true : modules.has(path);
  };
  const candidates = known.length > 0 && (!everything || base.targets) ? known : [...modules.keys()];
  const { matched, unmatched } = matchModules(candidates, rules, linear);
  const expected = new Set(matched);
  for (const module of modules.keys())
    if (!expected.has(module))
      problems.add(
        candidates.includes(module)
          ? `it has tensors for "${module}", which its target_modules does not select.`
          : `it has tensors for "${module}", which the base does not have.`,
      );
  for (const module of expected)
    if (!modules.has(module)) problems.add(`its target_modules selects "${module}", but it has no tensors for it.`);
  if (known.length === 0)
    for (const { rule, entry } of unmatched)
      if (rule === 'targetModules')
        warn(`${subject}: target_modules has ${JSON.stringify(entry)}, for which there are no tensors.`);
}

/** Whether the weight lies as (in, out): what the base says; the file's `fan_in_fan_out` where the base is not known. */
export function isTransposed(
  module: string,
  [out, inside]: readonly [number, number],
  file: Pick<SharedFile, 'fan_in_fan_out'>,
  base: BaseFacts,
): boolean {
  const target = base.targets?.find(({ path }) => path === module);
  if (target) return target.kind === 'conv1d' || target.kind === 'embedding';
  const shape = base.parameters?.get(`${module}.weight`)?.shape;
  if (shape && out !== inside) return shape[0] === inside && shape[1] === out;
  return file.fan_in_fan_out === true;
}

/** Whether the weight lies as (in, out): what the base says, else the length of a vector of outputs or inputs, else `fan_in_fan_out`. */
export function liesInOut(
  module: string,
  [rows, columns]: readonly [number, number],
  { side, length }: { readonly side: 'input' | 'output'; readonly length: number },
  file: Pick<SharedFile, 'fan_in_fan_out'>,
  { base }: LayoutInput,
): boolean {
  const target = base.targets?.find(({ path }) => path === module);
  if (target) return target.kind === 'conv1d' || target.kind === 'embedding';
  if (rows === columns || (rows !== length && columns !== length)) return file.fan_in_fan_out === true;
  return (side === 'output') === (columns === length);
}

/**
 * Shapes of the weights of modules whose tensors do not tell them: the base's, else those kept beside the files.
 * @throws PeftError ADAPTER_MISMATCH for modules that the base does not have, CONFIG_INVALID where there is no base
 */
export async function weightShapes(
  modules: Iterable<string>,
  { base, shapes, subject }: LayoutInput,
): Promise<ReadonlyMap<string, readonly [number, number]>> {
  const found = new Map<string, readonly [number, number]>();
  const missing = new Problems();
  const others = base.parameters ? undefined : await shapes?.();
  for (const module of modules) {
    const path = `${module}.weight`;
    const shape = base.parameters?.get(path)?.shape ?? others?.get(path);
    if (!shape) missing.add(`"${path}"`);
    else if (shape.length !== 2) missing.add(`"${path}" is [${shape}], not a matrix.`);
    else found.set(module, shape as readonly [number, number]);
  }
  if (missing.list.length === 0) return found;
  if (base.parameters) missing.throwIfAny('ADAPTER_MISMATCH', `${subject} changes what the base does not have`);
  throw new PeftError(
    'CONFIG_INVALID',
    `${subject} does not say the shapes of what it changes (${missing.list.slice(0, 3).join(', ')}${missing.list.length > 3 ? ', ...' : ''}). Read it together with the base it belongs to.`,
    { details: { problems: missing.list } },
  );
}
