import type { Term } from '../../delta/delta.js';
import { lowRank, lowRankTerm } from '../../delta/kinds/low-rank.js';
import { Problems } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { readConfig, toCode } from '../common/config.js';
import { readNumbers, sparseFrom } from '../common/entries.js';
import { sortTensors } from '../common/keys.js';
import { checkTargets, weightShapes } from '../common/modules.js';
import { readReplaced } from '../common/replaced.js';
import type { LayoutInput, LayoutOutput } from '../layout.js';
import { alphaOf, entriesLeft, type SupertuningFile, supertuningFormat, supertuningParts } from './format.js';

/** Reads a SUPERTUNING folder. See `Layout.read`. */
export async function readSupertuning(input: LayoutInput): Promise<LayoutOutput> {
  const { subject } = input;
  const file = readConfig(input, supertuningFormat, (config, unsupported) => {
    if (config.get('save_precomputed_indices') === false)
      unsupported.add(
        'save_precomputed_indices: false leaves the places of the values out of the file. Save it with them.',
      );
  });
  const { modules, parameters } = sortTensors(input, supertuningParts);
  const problems = new Problems();
  if (modules.size === 0) problems.add('it has no tensors of Super-Tuning.');
  checkTargets(file, modules, input, problems);
  const replaced = readReplaced(file, parameters, modules, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);

  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const [module, extents] of await weightShapes(modules.keys(), input)) {
    const parts = modules.get(module)!;
    const sparse = await readSparse(parts, extents, file.sparsity);
    const low = readFactors(parts, extents, file);
    for (const made of [low, sparse]) if (typeof made === 'string') problems.add(`"${module}": ${made}.`);
    shape.set(`${module}.weight`, extents);
    params.set(
      `${module}.weight`,
      [low, sparse].filter((made): made is Term => typeof made === 'object'),
    );
  }
  problems.throwIfAny('ADAPTER_INVALID', subject);
  const method = { name: 'supertuning', config: toCode(file, supertuningFormat) };
  return { delta: { shape, params }, replaced, method };
}

type ModuleTensors = Partial<Record<keyof typeof supertuningParts, TensorRef>>;

async function readSparse(
  { indices, values }: ModuleTensors,
  [out, inside]: readonly [number, number],
  sparsity: number,
): Promise<Term | string> {
  const count = entriesLeft(out * inside, sparsity);
  if (!indices || !values) return `it has no supertuning_${indices ? 'values' : 'indices'}`;
  for (const [name, ref] of [
    ['indices', indices],
    ['values', values],
  ] as const)
    if (ref.shape.length !== 1 || ref.shape[0] !== count)
      return `its supertuning_${name} are [${ref.shape}], needed is [${count}]: what sparsity ${sparsity} leaves of ${out * inside}`;
  const made = await sparseFrom(await readNumbers(indices), values, out * inside);
  return 'problem' in made ? made.problem : made.term;
}

/** The factors, or undefined where there are none to be. */
function readFactors(
  { a, b }: ModuleTensors,
  shape: readonly number[],
  file: SupertuningFile,
): Term | string | undefined {
  if (file.r == null) return a || b ? 'it has factors, but r is not set' : undefined;
  if (!a || !b) return `r is ${file.r}, but it has no factor ${a ? 'B' : 'A'}`;
  if (a.shape[0] !== file.r) return `its factor A is [${a.shape}], r is ${file.r}`;
  const term = lowRankTerm({ a, b }, { scale: alphaOf(file) / file.r });
  const [problem] = lowRank.problems(term, shape);
  return problem ?? term;
}
