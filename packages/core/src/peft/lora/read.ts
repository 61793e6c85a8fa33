import type { Term } from '../../delta/delta.js';
import { denseTerm } from '../../delta/kinds/dense.js';
import { doraTerm } from '../../delta/kinds/dora.js';
import { lowRankTerm } from '../../delta/kinds/low-rank.js';
import { Problems } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { toCode } from '../common/config.js';
import { sortTensors } from '../common/keys.js';
import { checkTargets, isTransposed } from '../common/modules.js';
import { readReplaced } from '../common/replaced.js';
import type { BaseFacts, LayoutInput, LayoutOutput } from '../layout.js';
import { type LoraFile, loraFormat, readLoraConfig, scaling } from './config.js';
import { type FactorPart, loraParts } from './keys.js';
import { readTokens } from './tokens.js';

type Factors = Partial<Record<FactorPart, TensorRef>>;

/** Reads a LORA folder's configuration and tensors. See `Layout.read`. */
export async function readLora(input: LayoutInput): Promise<LayoutOutput> {
  const { subject, base } = input;
  const file = readLoraConfig(input);
  const { modules: all, parameters } = sortTensors(input, loraParts, (part, ref, name, { unsupported, invalid }) => {
    if (ref.shape.length > 2)
      unsupported.add(`"${name}" [${ref.shape}] belongs to a convolution, which has no LoRA here.`);
    if (part === 'magnitude' && !file.use_dora)
      invalid.add(`"${name}" is a magnitude of DoRA, but use_dora is not set.`);
  });
  const { modules, tables } = apart(all);
  const problems = new Problems();
  if (modules.size === 0) problems.add('it has no LoRA tensors.');
  checkTargets(file, modules, input, problems);
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  const put = ([path, term, extents]: Made) => {
    shape.set(path, extents);
    params.set(path, [...(params.get(path) ?? []), term]);
  };
  const scaleOf = scaling(file);
  for (const [module, factors] of modules)
    readModule(module, factors, file, scaleOf(module), base, problems)?.forEach(put);
  for (const [module, { term, shape: extents }] of await readTokens(file, tables, input, problems)) {
    if (modules.has(module)) problems.add(`"${module}" has factors and rows that are set.`);
    put([`${module}.weight`, term, extents]);
  }
  const replaced = readReplaced(file, parameters, modules, input, problems);
  problems.throwIfAny('ADAPTER_INVALID', subject);
  const config = toCode({ ...file, use_dora: file.use_dora || null }, loraFormat); // said only where it is done
  return { delta: { shape, params }, replaced, method: { name: 'lora', config } };
}

/** Modules with factors, and tables with rows. */
function apart(all: ReadonlyMap<string, Factors>) {
  const modules = new Map<string, Factors>();
  const tables = new Map<string, TensorRef>();
  for (const [module, { tokens, ...factors }] of all) {
    if (tokens) tables.set(module, tokens);
    if (Object.keys(factors).length > 0) modules.set(module, factors);
  }
  return { modules, tables };
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
  const options = { scale, transposed, embedding };
  const made: Made[] = [];
  const { bias, magnitude } = factors;
  if (file.use_dora) {
    if (!magnitude) problems.add(`use_dora is set, but "${module}" has no magnitude.`);
    else if (magnitude.shape.length !== 1 || magnitude.shape[0] !== own[0])
      problems.add(`the magnitude of "${module}" is [${magnitude.shape}], needed is [${own[0]}].`);
    else made.push([`${module}.weight`, doraTerm({ a, b, magnitude }, options), shape]);
    if (file.lora_bias) problems.add('use_dora and lora_bias do not go together.');
  } else made.push([`${module}.weight`, lowRankTerm({ a, b }, options), shape]);
  if (bias) {
    if (!file.lora_bias) problems.add(`"${module}" has a bias in B, but lora_bias is not set.`);
    if (bias.shape.length !== 1 || bias.shape[0] !== own[0])
      problems.add(`the bias in B of "${module}" is [${bias.shape}], needed is [${own[0]}].`);
    made.push([`${module}.bias`, denseTerm(bias, scale), [own[0]]]);
  } else if (file.lora_bias && !embedding) problems.add(`lora_bias is set, but "${module}" has no bias in B.`);
  return problems.list.length > before ? undefined : made;
}
