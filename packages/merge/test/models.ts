import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cast, createRandom, type DType, openWeights, type Tensor, tensorRef, writeSharded } from '@peftjs/core';

export const temporary = (name: string): string => join(mkdtempSync(join(tmpdir(), 'peftjs-merge-')), name);

/** Shapes of a small model of `layers` layers. */
export function shapesOf(layers: number, width = 12): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [7, width]]]);
  for (let i = 0; i < layers; i++) {
    shapes.set(`model.layers.${i}.self_attn.q_proj.weight`, [width, width]);
    shapes.set(`model.layers.${i}.mlp.up_proj.weight`, [2 * width, width]);
    shapes.set(`model.layers.${i}.input_layernorm.weight`, [width]);
  }
  return shapes.set('model.norm.weight', [width]).set('lm_head.weight', [7, width]).set('head.scale', [4]);
}

/** Normal numbers for each tensor, and base + 0.1 of such numbers for fine-tunes of it. */
export function numbers(seed: number, shapes = shapesOf(2), base?: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const rng = createRandom(seed);
  return new Map(
    [...shapes].map(([name, shape]) => {
      const own = rng.fork(name).normal(shape, 0, base ? 0.1 : 1);
      const start = base?.get(name)?.data as Float32Array | undefined;
      return [name, { ...own, data: (own.data as Float32Array).map((x, i) => x + (start?.[i] ?? 0)) }];
    }),
  );
}

export const inDtype = (tensors: ReadonlyMap<string, Tensor>, dtype: DType): Map<string, Tensor> =>
  new Map([...tensors].map(([name, tensor]) => [name, cast(tensor, dtype)]));

interface Extras {
  readonly config?: object;
  readonly vocabulary?: Readonly<Record<string, number>>;
  readonly maxShardBytes?: number;
}

/** Writes a Hugging Face directory. */
export async function writeModel(
  name: string,
  tensors: ReadonlyMap<string, Tensor>,
  extras: Extras = {},
): Promise<string> {
  const path = temporary(name);
  mkdirSync(path, { recursive: true });
  const refs = new Map([...tensors].map(([key, tensor]) => [key, tensorRef(tensor)]));
  const { config = { num_hidden_layers: 2 }, vocabulary, maxShardBytes } = extras;
  await writeSharded(path, refs, maxShardBytes === undefined ? {} : { maxShardBytes });
  writeFileSync(join(path, 'config.json'), JSON.stringify({ torch_dtype: 'float32', ...config }));
  if (vocabulary) writeFileSync(join(path, 'tokenizer.json'), JSON.stringify({ model: { vocab: vocabulary } }));
  return path;
}

export async function readModel(path: string): Promise<Map<string, Tensor>> {
  const tensors = new Map<string, Tensor>();
  for (const [name, ref] of (await openWeights(path)).tensors) tensors.set(name, await ref.read());
  return tensors;
}
