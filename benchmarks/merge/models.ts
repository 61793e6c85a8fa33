/** Synthetic checkpoints of a given size that both programs take for Llama models, and the comparison of two results. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  bitsOf,
  cast,
  createRandom,
  type DType,
  elementCount,
  openWeights,
  readInPieces,
  type TensorRef,
  toF32,
  writeSharded,
} from '@peftjs/core';

const width = 1024;
const inner = 2816;
const vocabulary = 8192;

const layerShapes = (i: number): [string, readonly number[]][] => [
  [`model.layers.${i}.input_layernorm.weight`, [width]],
  ...['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name): [string, readonly number[]] => [
    `model.layers.${i}.self_attn.${name}.weight`,
    [width, width],
  ]),
  [`model.layers.${i}.mlp.gate_proj.weight`, [inner, width]],
  [`model.layers.${i}.mlp.up_proj.weight`, [inner, width]],
  [`model.layers.${i}.mlp.down_proj.weight`, [width, inner]],
  [`model.layers.${i}.post_attention_layernorm.weight`, [width]],
];

/** What checkpoints can be stored in, and how a configuration calls it. */
export const torchNames = { f32: 'float32', bf16: 'bfloat16' } as const;
export type Stored = keyof typeof torchNames;

export function stored(name: string): Stored {
  if (name in torchNames) return name as Stored;
  throw new Error(`Checkpoints are stored as ${Object.keys(torchNames).join(' or ')}, not ${name}.`);
}

/** As many layers as come closest to the size, at least one. */
function shapesFor(megabytes: number, dtype: DType): { shapes: Map<string, readonly number[]>; layers: number } {
  const outside = 2 * vocabulary * width + width;
  const each = layerShapes(0).reduce((sum, [, shape]) => sum + elementCount(shape), 0);
  const layers = Math.max(1, Math.round(((megabytes * 8e6) / bitsOf(dtype) - outside) / each));
  const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [vocabulary, width]]]);
  for (let i = 0; i < layers; i++) for (const [name, shape] of layerShapes(i)) shapes.set(name, shape);
  shapes.set('model.norm.weight', [width]).set('lm_head.weight', [vocabulary, width]);
  return { shapes, layers };
}

/** Numbers made when they are read: those of the base, and for fine-tunes a small noise of their own on top. */
function synthetic(name: string, shape: readonly number[], seed: number, dtype: DType): TensorRef {
  const row = elementCount(shape.slice(1));
  const noise = (of: number, from: number, count: number) =>
    createRandom(of).fork(name, from).uniform([count], -0.05, 0.05).data as Float32Array;
  return {
    dtype,
    shape,
    async read({ from = 0, to = shape[0]! } = {}) {
      const data = noise(0, from, (to - from) * row);
      if (seed > 0) {
        const own = noise(seed, from, data.length);
        for (let i = 0; i < data.length; i++) data[i] = data[i]! + 0.02 * own[i]!;
      }
      return cast({ dtype: 'f32', shape: [to - from, ...shape.slice(1)], data }, dtype);
    },
  };
}

/** Writes the base (seed 0) or a fine-tune of it. */
export async function writeModel(folder: string, megabytes: number, dtype: Stored, seed: number): Promise<string> {
  const path = join(folder, seed === 0 ? 'base' : `ft${seed}`);
  mkdirSync(path, { recursive: true });
  const { shapes, layers } = shapesFor(megabytes, dtype);
  await writeSharded(path, new Map([...shapes].map(([name, shape]) => [name, synthetic(name, shape, seed, dtype)])));
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: 16,
    num_key_value_heads: 16,
    vocab_size: vocabulary,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    hidden_act: 'silu',
    tie_word_embeddings: false,
    torch_dtype: torchNames[dtype],
  };
  writeFileSync(join(path, 'config.json'), `${JSON.stringify(config, null, 2)}\n`);
  return path;
}

/** Two results beside each other: the largest difference of an element, and the norms of both differences from the base. */
export async function compare(ours: string, peer: string, base: string) {
  const [a, b, start] = await Promise.all([ours, peer, base].map((path) => openWeights(path)));
  let largest = 0;
  let [mine, theirs] = [0, 0];
  for (const [name, ref] of a!.tensors) {
    const [other, origin] = [b!, start!].map(({ tensors }) => readInPieces(tensors.get(name)!));
    for await (const piece of readInPieces(ref)) {
      const x = toF32(piece).data;
      const y = toF32((await other!.next()).value!).data;
      const z = toF32((await origin!.next()).value!).data;
      for (let i = 0; i < x.length; i++) {
        largest = Math.max(largest, Math.abs(x[i]! - y[i]!));
        mine += (x[i]! - z[i]!) ** 2;
        theirs += (y[i]! - z[i]!) ** 2;
      }
    }
  }
  return { largestDifference: largest, normRatio: Math.sqrt(mine / theirs) };
}
