import type { Adapter, Term } from '../../delta/delta.js';
import { scaleOf } from '../../delta/kinds/common.js';
import { dense } from '../../delta/kinds/dense.js';
import { dora } from '../../delta/kinds/dora.js';
import { lowRank } from '../../delta/kinds/low-rank.js';
import { rows } from '../../delta/kinds/rows.js';
import { PeftError, Problems } from '../../errors.js';
import { scaled } from '../../tensor/convert.js';
import { tensorRef, zeros } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { parameterKey, partKey } from '../common/keys.js';
import type { LayoutFiles } from '../layout.js';
import { describeLora, type Module } from './describe.js';
import { type FactorPart, loraParts } from './keys.js';
import { tokensOf } from './tokens.js';

/** An adapter as a LORA folder. See `Layout.write`. */
export async function writeLora(adapter: Adapter): Promise<LayoutFiles> {
  const { modules, tables } = await gather(adapter);
  const isDora = modules.every(({ weight }) => weight.kind === dora.kind);
  const tokens = new Map<string, readonly number[]>();
  const shapes = new Map<string, readonly number[]>();
  for (const [module, term] of tables) {
    tokens.set(module, await tokensOf(term));
    shapes.set(`${module}.weight`, adapter.delta.shape.get(`${module}.weight`)!);
  }
  const config = describeLora(adapter, { modules, tokens, dora: isDora });
  const tensors = new Map<string, TensorRef>();
  const put = (module: string, part: FactorPart, ref: TensorRef) => tensors.set(partKey(module, loraParts[part]), ref);
  for (const { path, weight, bias, scale } of modules) {
    const [a, b] = weight.meta.embedding === true ? (['embeddingA', 'embeddingB'] as const) : (['a', 'b'] as const);
    put(path, a, weight.tensors.a!);
    put(path, b, weight.tensors.b!);
    if (weight.tensors.magnitude) put(path, 'magnitude', weight.tensors.magnitude);
    if (config.get('lora_bias') === true) put(path, 'bias', await biasInB(bias, scale, weight));
  }
  for (const [module, term] of tables) put(module, 'tokens', term.tensors.values!);
  const adapted = new Set(modules.map(({ path }) => path));
  for (const [path, ref] of adapter.replaced)
    tensors.set(parameterKey(path, adapted.has(path.slice(0, path.lastIndexOf('.')))), ref);
  return { config, tensors, ...(shapes.size > 0 && { shapes }) };
}

/** The one term of a parameter that the layout has a place for, or what is wrong. */
async function oneTerm(leaf: string, terms: readonly Term[], shape: readonly number[]): Promise<Term | string> {
  const known = leaf === 'weight' ? [lowRank, dora, rows] : leaf === 'bias' ? [dense] : [];
  if (known.length === 0) return 'is neither a weight nor a bias';
  const hint = shape.length === 2 ? ' (give a rank or an energy to write the best approximation)' : '';
  const other = terms.find(({ kind }) => !known.some((own) => own.kind === kind));
  if (other)
    return `has an update of kind ${other.kind}; the layout holds ${known.map((own) => own.kind).join(', ')}${hint}`;
  if (terms.length === 1) return terms[0]!;
  const [first] = known;
  if (terms.every(({ kind }) => kind === first!.kind)) return first!.add!(terms, shape);
  return `has several updates (${terms.map(({ kind }) => kind).join(', ')}), of which the layout holds one`;
}

/** One term with factors a module, at most one bias beside it, and tables with rows. @throws PeftError DELTA_CONFLICT */
async function gather({ delta }: Adapter): Promise<{ modules: Module[]; tables: ReadonlyMap<string, Term> }> {
  const problems = new Problems();
  const weights = new Map<string, Term>();
  const biases = new Map<string, Term>();
  const tables = new Map<string, Term>();
  for (const [path, terms] of delta.params) {
    const dot = path.lastIndexOf('.');
    const [module, leaf] = [path.slice(0, dot), path.slice(dot + 1)];
    const one = await oneTerm(leaf, terms, delta.shape.get(path)!);
    if (typeof one === 'string') problems.add(`"${path}" ${one}.`);
    else (leaf === 'bias' ? biases : one.kind === rows.kind ? tables : weights).set(module, one);
  }
  for (const [module] of biases) {
    const weight = weights.get(module);
    if (!weight) problems.add(`"${module}.bias" changes without the weight beside it.`);
  }
  const all = [...weights.values()];
  const doras = all.filter(({ kind }) => kind === dora.kind).length;
  if (biases.size > 0 && all.some(({ meta }) => meta.embedding === true))
    problems.add('biases in B and embeddings do not go together in this layout.');
  if (biases.size > 0 && doras > 0) problems.add('biases in B and DoRA do not go together in this layout.');
  if (doras > 0 && doras < all.length)
    problems.add(`DoRA is for all modules or none in this layout, and ${doras} of ${all.length} have it.`);
  if (weights.size === 0) problems.add('it changes no weight by factors.');
  problems.throwIfAny('DELTA_CONFLICT', 'The LORA layout cannot hold this adapter');
  const modules = [...weights].map(([path, weight]) => {
    const bias = biases.get(path);
    return { path, weight, ...(bias && { bias }), r: weight.tensors.a!.shape[0]!, scale: scaleOf(weight) };
  });
  return { modules, tables };
}

/** The bias of B: what is added to the base's bias, without the module's scale. */
async function biasInB(bias: Term | undefined, scale: number, weight: Term): Promise<TensorRef> {
  const out = weight.tensors.b!.shape[0]!;
  if (!bias) return tensorRef(zeros([out]));
  const factor = scaleOf(bias) / scale;
  const stored = bias.tensors.delta!;
  if (factor === 1) return stored;
  if (!Number.isFinite(factor))
    throw new PeftError('DELTA_CONFLICT', 'A module whose scale is 0 cannot hold a bias in B.');
  return tensorRef(scaled(await stored.read(), factor));
}
