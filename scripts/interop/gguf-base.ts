import { join } from 'node:path';
import { openGguf, type TensorRef, toF32, writeGguf } from '@peftjs/core';
import { openWeights } from '@peftjs/core/files';
import { fromGgml, permutedHeads } from '../../packages/core/src/peft/gguf/names.js';
import { permuteRows } from '../../packages/core/src/peft/gguf/permute.js';

/**
 * Writes a GGUF model with all numbers in float32: what is quantised in `model.gguf` from the Hugging Face weights beside
 * it. With quantised weights llama.cpp computes with 8-bit activations, and their noise would hide what is compared.
 * @param folder holds model.gguf and hf/
 */
export async function writeFloatModel(folder: string, output: string): Promise<void> {
  const { metadata, tensors } = await openGguf(join(folder, 'model.gguf'));
  const weights = (await openWeights(join(folder, 'hf'))).tensors;
  const count = (key: string) => Number(metadata.get(`${metadata.get('general.architecture')!.value}.${key}`)!.value);
  const headsOf = { heads: count('attention.head_count'), kvHeads: count('attention.head_count_kv') };
  const made = new Map<string, TensorRef>();
  for (const [name, { ref }] of tensors) {
    const module = fromGgml(name);
    const own = module === undefined ? undefined : weights.get(`${module}.weight`);
    if (own) made.set(name, inFloat(own, name, headsOf[permutedHeads(module!)!]));
    else if (ref) made.set(name, ref);
    else throw new Error(`"${name}" is quantised and not among the Hugging Face weights.`);
  }
  const plain = new Map(metadata).set('general.file_type', { type: 'u32', value: 0 });
  await writeGguf(output, { metadata: plain, tensors: made });
}

/** A weight in float32, its rows in ggml's order where they belong to rotary heads. */
const inFloat = (ref: TensorRef, name: string, heads: number | undefined): TensorRef => ({
  dtype: 'f32',
  shape: ref.shape,
  async read(range) {
    const whole = toF32(await ref.read(heads === undefined ? range : undefined));
    if (heads === undefined) return whole;
    const { shape, data } = permuteRows(whole, heads, 'ggml', name);
    const { from = 0, to = shape[0]! } = range ?? {};
    const width = shape[1]!;
    return { dtype: 'f32', shape: [to - from, width], data: data.subarray(from * width, to * width) };
  },
});
