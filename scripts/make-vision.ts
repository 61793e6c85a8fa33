import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { writeSafetensors } from '@peftjs/core/files';
import { randomWeights } from './random-weights.js';

// Writes examples/fixtures/vision: a vision transformer of random weights, small enough to live in the repository. It
// knows nothing; it lets the examples of the documentation run. `node scripts/run.mjs scripts/make-vision.ts`

const config = {
  architectures: ['ViTModel'],
  model_type: 'vit',
  hidden_act: 'gelu',
  hidden_size: 32,
  image_size: 16,
  initializer_range: 0.2,
  intermediate_size: 64,
  layer_norm_eps: 1e-12,
  num_attention_heads: 2,
  num_channels: 3,
  num_hidden_layers: 2,
  patch_size: 4,
  qkv_bias: true,
};

const preprocessor = {
  image_processor_type: 'ViTImageProcessor',
  do_resize: true,
  size: { height: config.image_size, width: config.image_size },
  resample: 2,
  do_rescale: true,
  rescale_factor: 1 / 255,
  do_normalize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
};

const { hidden_size: width, intermediate_size: inner, patch_size: patch } = config;
const patches = (config.image_size / patch) ** 2;
const { tensors, add, linear, norm } = randomWeights(config.initializer_range);

add('embeddings.cls_token', [1, 1, width]);
add('embeddings.position_embeddings', [1, 1 + patches, width]);
linear('embeddings.patch_embeddings.projection', width, config.num_channels, patch, patch);
for (let i = 0; i < config.num_hidden_layers; i++) {
  const layer = `encoder.layer.${i}`;
  for (const part of ['query', 'key', 'value']) linear(`${layer}.attention.attention.${part}`, width, width);
  linear(`${layer}.attention.output.dense`, width, width);
  linear(`${layer}.intermediate.dense`, inner, width);
  linear(`${layer}.output.dense`, width, inner);
  norm(`${layer}.layernorm_before`, width);
  norm(`${layer}.layernorm_after`, width);
}
norm('layernorm', width);

const folder = fileURLToPath(new URL('../examples/fixtures/vision/', import.meta.url));
const json = (file: string, value: unknown) => writeFile(`${folder}${file}`, `${JSON.stringify(value, null, 1)}\n`);
await mkdir(folder, { recursive: true });
await writeSafetensors(`${folder}model.safetensors`, tensors, { metadata: new Map([['format', 'pt']]) });
await json('config.json', config);
await json('preprocessor_config.json', preprocessor);
