import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeSafetensors } from '@peftjs/core/files';
import { createRandom, type TensorRef, tensorRef } from '@peftjs/core/tensor';
import { onTestFinished } from 'vitest';
import { findArchitecture } from '../src/architectures/index.js';
import { declaredParameters } from '../src/forms.js';

/** Configurations of models small enough to run in plain JavaScript. */
export const tinyConfigs = {
  llama: {
    model_type: 'llama',
    architectures: ['LlamaForCausalLM'],
    vocab_size: 40,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 6,
    attention_bias: true,
    mlp_bias: true,
    max_position_embeddings: 64,
    rope_theta: 10000,
    bos_token_id: 1,
    eos_token_id: 2,
  },
  bert: {
    model_type: 'bert',
    architectures: ['BertModel'],
    vocab_size: 40,
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    max_position_embeddings: 64,
    pad_token_id: 0,
  },
  vit: {
    model_type: 'vit',
    architectures: ['ViTModel'],
    hidden_size: 16,
    intermediate_size: 24,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    image_size: 8,
    patch_size: 4,
  },
  gpt2: {
    model_type: 'gpt2',
    architectures: ['GPT2LMHeadModel'],
    vocab_size: 40,
    n_embd: 16,
    n_inner: 24,
    n_layer: 2,
    n_head: 4,
    n_positions: 64,
  },
};

/** Random weights for everything the head of an architecture declares. */
export function tinyWeights(config: { model_type: string }, head: string): Map<string, TensorRef> {
  const architecture = findArchitecture(config.model_type);
  const task = { name: head, trainable: true, head: { name: head, options: { classes: 3 } } };
  const declared = declaredParameters({ architecture, config: architecture.config(config), task });
  const random = createRandom(7);
  return new Map([...declared].map(([path, shape]) => [path, tensorRef(random.fork(path).normal(shape, 0, 0.3))]));
}

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'peftjs-models-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** A model directory that lives as long as the test. */
export async function writeTinyModel(
  config: { model_type: string },
  weights: ReadonlyMap<string, TensorRef>,
): Promise<string> {
  const directory = await temporaryDirectory();
  await writeFile(join(directory, 'config.json'), JSON.stringify(config));
  await writeSafetensors(join(directory, 'model.safetensors'), weights);
  return directory;
}
