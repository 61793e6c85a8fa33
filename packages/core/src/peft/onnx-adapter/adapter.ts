import { type SlotNames, slotNames } from '../../adapter/onnx/names.js';
import type { Adapter, Term } from '../../delta/delta.js';
import { contentDigest } from '../../delta/digest.js';
import { factored } from '../../delta/factored.js';
import { lowRank, lowRankTerm } from '../../delta/kinds/low-rank.js';
import { builtinKinds, type Kinds } from '../../delta/registry.js';
import { Problems } from '../../errors.js';
import type { ByteSource } from '../../files/source.js';
import { cast, toF32 } from '../../tensor/convert.js';
import { isFloat } from '../../tensor/dtype.js';
import { tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { transposed } from '../../tensor/transpose.js';
import { openOnnxAdapter } from './read.js';

export interface OnnxParameterOptions {
  /** How inputs are named. Default: as Olive names them, `model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly names?: SlotNames;
  /** Default f32. */
  readonly dtype?: 'f32' | 'f16';
  readonly kinds?: Kinds;
}

/**
 * What an adapter feeds a graph that has inputs for it: for each module A [in, r] and B [r, out] with the scale in B.
 * @throws PeftError DELTA_CONFLICT listing what two factors cannot hold
 */
export async function onnxParameters(
  adapter: Adapter,
  options: OnnxParameterOptions = {},
): Promise<Map<string, TensorRef>> {
  const { names = slotNames.olive, dtype = 'f32', kinds = builtinKinds } = options;
  const problems = new Problems();
  const parameters = new Map<string, TensorRef>();
  for (const path of adapter.replaced.keys()) problems.add(`it replaces "${path}" in full.`);
  for (const [path, terms] of adapter.delta.params) {
    const module = path.replace(/\.weight$/, '');
    const shape = adapter.delta.shape.get(path)!;
    const term = await factored(terms, shape, kinds);
    if (module === path) problems.add(`"${path}" is no weight.`);
    else if (!term) problems.add(`"${path}" has an update that is not two factors.`);
    else {
      const { a, b } = await lowRank.slots!(term, shape);
      parameters.set(names.a(module), tensorRef(cast(a, dtype)));
      parameters.set(names.b(module), tensorRef(cast(b, dtype)));
    }
  }
  if (adapter.delta.params.size === 0) problems.add('it changes no weight.');
  problems.throwIfAny('DELTA_CONFLICT', 'Inputs for two factors a module cannot hold this adapter');
  return parameters;
}

/**
 * Reads an .onnx_adapter file of LoRA factors as an adapter: scale 1, for it lies in B.
 * @throws PeftError FILE_MISSING, FILE_INVALID; ADAPTER_INVALID when its parameters are not pairs of factors
 */
export async function readOnnxAdapter(input: string | ByteSource): Promise<Adapter> {
  const { parameters, warnings } = await openOnnxAdapter(input);
  const problems = new Problems();
  for (const warning of warnings) problems.add(warning);
  const pairs = new Map<string, { a?: TensorRef; b?: TensorRef }>();
  for (const [name, ref] of parameters) {
    const found = Object.values(slotNames)
      .map((names) => names.read(name))
      .find((slot) => slot !== undefined);
    if (!found) problems.add(`"${name}" is not named as a factor (…lora_A.weight, …lora_B.weight).`);
    else if (ref.shape.length !== 2 || !isFloat(ref.dtype))
      problems.add(`"${name}" is ${ref.dtype} [${ref.shape}], not a matrix of floats.`);
    else pairs.set(found.module, { ...pairs.get(found.module), [found.letter]: ref });
  }
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const [module, { a, b }] of pairs) {
    if (!a || !b) problems.add(`"${module}" has no factor ${a ? 'B' : 'A'}.`);
    else if (a.shape[1] !== b.shape[0] || a.shape[1] === 0)
      problems.add(`the factors of "${module}" have ranks ${a.shape[1]} and ${b.shape[0]}.`);
    else {
      shape.set(`${module}.weight`, [b.shape[1]!, a.shape[0]!]);
      params.set(`${module}.weight`, [lowRankTerm({ a: turned(a), b: turned(b) }, { scale: 1 })]);
    }
  }
  problems.throwIfAny('ADAPTER_INVALID', `The adapter ${typeof input === 'string' ? input : input.name}`);
  const content = { delta: { shape, params }, replaced: new Map() };
  return { ...content, digest: await contentDigest(content) };
}

const turned = (ref: TensorRef): TensorRef => ({
  dtype: ref.dtype,
  shape: [...ref.shape].reverse(),
  read: async (options) => tensorRef(cast(transposed(toF32(await ref.read())), ref.dtype)).read(options),
});
