import type { Adapter, Term } from '../../delta/delta.js';
import { scaleOf } from '../../delta/kinds/common.js';
import { type Kinds, kindOf } from '../../delta/registry.js';
import { PeftError, Problems } from '../../errors.js';
import { toF32 } from '../../tensor/convert.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { PeftConfig } from '../layout.js';
import { describeLora, type Module } from './describe.js';
import { factorKey, parameterKey } from './keys.js';

/** An adapter as a LORA folder. See `Layout.write`. */
export async function writeLora(
  adapter: Adapter,
  { kinds }: { readonly kinds: Kinds },
): Promise<{ config: PeftConfig; tensors: Map<string, TensorRef> }> {
  const modules = await gather(adapter, kinds);
  const config = describeLora(adapter, modules);
  const tensors = new Map<string, TensorRef>();
  for (const { path, weight, bias, scale } of modules) {
    const [a, b] = weight.meta.embedding === true ? (['embeddingA', 'embeddingB'] as const) : (['a', 'b'] as const);
    tensors.set(factorKey(path, a), weight.tensors.a!);
    tensors.set(factorKey(path, b), weight.tensors.b!);
    if (config.get('lora_bias') === true) tensors.set(factorKey(path, 'bias'), await biasInB(bias, scale, weight));
  }
  const adapted = new Set(modules.map(({ path }) => path));
  for (const [path, ref] of adapter.replaced)
    tensors.set(parameterKey(path, adapted.has(path.slice(0, path.lastIndexOf('.')))), ref);
  return { config, tensors };
}

/** One low-rank term a module, and at most one bias beside it. @throws PeftError DELTA_CONFLICT */
async function gather(adapter: Adapter, kinds: Kinds): Promise<Module[]> {
  const problems = new Problems();
  const weights = new Map<string, Term>();
  const biases = new Map<string, Term>();
  for (const [path, terms] of adapter.delta.params) {
    const dot = path.lastIndexOf('.');
    const [module, leaf] = [path.slice(0, dot), path.slice(dot + 1)];
    const wanted = leaf === 'weight' ? 'low-rank' : leaf === 'bias' ? 'dense' : undefined;
    const other = terms.find(({ kind }) => kind !== wanted);
    if (wanted === undefined) problems.add(`"${path}" is neither a weight nor a bias.`);
    else if (other)
      problems.add(
        `"${path}" has an update of kind ${other.kind}; the layout holds ${wanted} ones there${adapter.delta.shape.get(path)?.length === 2 ? ' (give a rank or an energy to write the best approximation)' : ''}.`,
      );
    else {
      const kind = kindOf(terms[0]!, kinds);
      const one = terms.length === 1 ? terms[0]! : await kind.add!(terms, adapter.delta.shape.get(path)!);
      (leaf === 'weight' ? weights : biases).set(module, one);
    }
  }
  for (const [module] of biases) {
    const weight = weights.get(module);
    if (!weight) problems.add(`"${module}.bias" changes without the weight beside it.`);
  }
  if (biases.size > 0 && [...weights.values()].some(({ meta }) => meta.embedding === true))
    problems.add('biases in B and embeddings do not go together in this layout.');
  if (weights.size === 0) problems.add('it changes no weight.');
  problems.throwIfAny('DELTA_CONFLICT', 'The LORA layout cannot hold this adapter');
  return [...weights].map(([path, weight]) => {
    const bias = biases.get(path);
    return { path, weight, ...(bias && { bias }), r: weight.tensors.a!.shape[0]!, scale: scaleOf(weight) };
  });
}

/** The bias of B: what is added to the base's bias, without the module's scale. */
async function biasInB(bias: Term | undefined, scale: number, weight: Term): Promise<TensorRef> {
  const out = weight.tensors.b!.shape[0]!;
  if (!bias) return tensorRef(f32([out], new Float32Array(out)));
  const factor = scaleOf(bias) / scale;
  const stored = bias.tensors.delta!;
  if (factor === 1) return stored;
  if (!Number.isFinite(factor))
    throw new PeftError('DELTA_CONFLICT', 'A module whose scale is 0 cannot hold a bias in B.');
  return tensorRef(
    f32(
      [out],
      toF32(await stored.read()).data.map((x) => x * factor),
    ),
  );
}
