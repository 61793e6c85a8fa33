import { matchModules } from '../../adapter/match.js';
import type { Term } from '../../delta/delta.js';
import { denseTerm } from '../../delta/kinds/dense.js';
import { lowRankTerm } from '../../delta/kinds/low-rank.js';
import { Problems } from '../../errors.js';
import { isFloat } from '../../tensor/dtype.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { BaseFacts, LayoutInput, LayoutOutput } from '../layout.js';
import { type LoraFile, readLoraConfig, rulesOfFile, scaling, toCode } from './config.js';
import { type FactorPart, readKey } from './keys.js';
import { type Parameter, readReplaced } from './replaced.js';

type Factors = Partial<Record<FactorPart, TensorRef>>;

/** Reads a LORA folder's configuration and tensors. See `Layout.read`. */
export function readLora(input: LayoutInput): LayoutOutput {
  const { subject, base } = input;
  const file = readLoraConfig(input);
  const { modules, parameters } = sortTensors(input);
  const problems = new Problems();
  if (modules.size === 0) problems.add('it has no LoRA tensors.');
  checkTargets(file, modules, input, problems);
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  const scaleOf = scaling(file);
  for (const [module, factors] of modules) {
    const made = readModule(module, factors, file, scaleOf(module), base, problems);
    for (const [path, term, extents] of made ?? []) {
      shape.set(path, extents);
      params.set(path, [term]);
    }
  }
  const replaced = readReplaced(file, parameters, modules, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);
  return { delta: { shape, params }, replaced, method: { name: 'lora', config: toCode(file) } };
}

/** Tensors by what their names say. @throws PeftError CONFIG_UNSUPPORTED, ADAPTER_INVALID */
function sortTensors({ tensors, subject }: LayoutInput) {
  const unsupported = new Problems();
  const invalid = new Problems();
  const modules = new Map<string, Factors>();
  const parameters = new Map<string, Parameter>();
  for (const [name, ref] of tensors) {
    const key = readKey(name);
    if (key.type === 'unsupported') unsupported.add(key.problem);
    else if (key.type === 'invalid') invalid.add(key.problem);
    else if (!isFloat(ref.dtype)) invalid.add(`the tensor "${name}" is ${ref.dtype}, not floating point.`);
    else if (key.type === 'parameter') parameters.set(key.path, { ref, adapted: key.adapted });
    else {
      if (ref.shape.length > 2)
        unsupported.add(`"${name}" [${ref.shape}] belongs to a convolution, which has no LoRA here.`);
      if (key.part === 'magnitude') invalid.add(`"${name}" is a magnitude of DoRA, but use_dora is not set.`);
      modules.set(key.module, { ...modules.get(key.module), [key.part]: ref });
    }
  }
  unsupported.throwIfAny('CONFIG_UNSUPPORTED', subject);
  invalid.throwIfAny('ADAPTER_INVALID', subject);
  return { modules, parameters };
}

/** Whether configuration and file speak of the same modules. */
function checkTargets(
  file: LoraFile,
  modules: ReadonlyMap<string, Factors>,
  input: LayoutInput,
  problems: Problems,
): void {
  const { base, warn, subject } = input;
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

type Made = readonly [path: string, term: Term, shape: readonly number[]];

/** The terms of one module, or undefined with everything wrong added to `problems`. */
function readModule(
  module: string,
  factors: Factors,
  file: LoraFile,
  { r, scale }: { readonly r: number; readonly scale: number },
  base: BaseFacts,
  problems: Problems,
): Made[] | undefined {
  const before = problems.list.length;
  const embedding = factors.embeddingA !== undefined || factors.embeddingB !== undefined;
  if (embedding && (factors.a || factors.b))
    problems.add(`"${module}" has factors of a linear layer and of an embedding.`);
  const a = embedding ? factors.embeddingA : factors.a;
  const b = embedding ? factors.embeddingB : factors.b;
  if (!a) problems.add(`"${module}" has no factor A.`);
  if (!b) problems.add(`"${module}" has no factor B.`);
  for (const [letter, ref] of [
    ['A', a],
    ['B', b],
  ] as const)
    if (ref && ref.shape.length !== 2) problems.add(`factor ${letter} of "${module}" is [${ref.shape}], not a matrix.`);
  if (!a || !b || problems.list.length > before) return undefined;
  if (a.shape[0] !== b.shape[1]) problems.add(`the factors of "${module}" have ranks ${a.shape[0]} and ${b.shape[1]}.`);
  else if (a.shape[0] !== r)
    problems.add(`"${module}" has rank ${a.shape[0]}, its configuration says ${r}: the scale would be wrong.`);
  const own = [b.shape[0]!, a.shape[1]!] as const; // out, in
  const transposed = embedding || isTransposed(module, own, file, base);
  const shape = transposed ? [own[1], own[0]] : [...own];
  const weight = base.parameters?.get(`${module}.weight`);
  if (weight && (weight.shape.length !== 2 || weight.shape[0] !== shape[0] || weight.shape[1] !== shape[1]))
    problems.add(`the factors of "${module}" change a [${shape}] matrix, the base has [${weight.shape}].`);
  const made: Made[] = [[`${module}.weight`, lowRankTerm({ a, b }, { scale, transposed, embedding }), shape]];
  const { bias } = factors;
  if (bias) {
    if (!file.lora_bias) problems.add(`"${module}" has a bias in B, but lora_bias is not set.`);
    if (bias.shape.length !== 1 || bias.shape[0] !== own[0])
      problems.add(`the bias in B of "${module}" is [${bias.shape}], needed is [${own[0]}].`);
    made.push([`${module}.bias`, denseTerm(bias, scale), [own[0]]]);
  } else if (file.lora_bias && !embedding) problems.add(`lora_bias is set, but "${module}" has no bias in B.`);
  return problems.list.length > before ? undefined : made;
}

/** Whether the weight lies as (in, out): what the base says; the file's `fan_in_fan_out` where the base is not known. */
function isTransposed(
  module: string,
  [out, inside]: readonly [number, number],
  file: LoraFile,
  base: BaseFacts,
): boolean {
  const target = base.targets?.find(({ path }) => path === module);
  if (target) return target.kind === 'conv1d';
  const shape = base.parameters?.get(`${module}.weight`)?.shape;
  if (shape && out !== inside) return shape[0] === inside && shape[1] === out;
  return file.fan_in_fan_out === true;
}
