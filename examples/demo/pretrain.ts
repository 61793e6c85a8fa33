import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { adamw, createOrder, createSchedule, fusedGraph, scalarFeeds } from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { promoteWeight, replaceUses, type ShapedValue } from '@peftjs/core/graph';
import { createRandom, f32, type Tensor, type TensorRef, tensorRef } from '@peftjs/core/tensor';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { corpus } from './corpus.js';
import { endToken, learnTokenizer } from './tokenizer.js';

// Makes examples/demo/base: a small Llama, trained from nothing on the demo's corpus with the library's own gradients
// and optimizer, every weight trainable. `node scripts/run.mjs examples/demo/pretrain.ts [STEPS] [FOLDER]`

const steps = Number(process.argv[2] ?? 4000);
const folder = process.argv[3] ?? fileURLToPath(new URL('base', import.meta.url));
const batchSize = 96;
const rate = 4e-3;

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  hidden_size: 96,
  intermediate_size: 256,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 24,
  max_position_embeddings: 512,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  initializer_range: 0.05,
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  vocab_size: 768,
  bos_token_id: 0,
  eos_token_id: 0,
  pad_token_id: 0,
  torch_dtype: 'float32',
};

/** Shapes of all weights, by parameter path. */
function shapes(): Map<string, readonly number[]> {
  const { hidden_size: width, intermediate_size: inner, head_dim, num_attention_heads, num_key_value_heads } = config;
  const query = num_attention_heads * head_dim;
  const key = num_key_value_heads * head_dim;
  const all = new Map<string, readonly number[]>([['model.embed_tokens.weight', [config.vocab_size, width]]]);
  for (let i = 0; i < config.num_hidden_layers; i++) {
    const layer = `model.layers.${i}`;
    all.set(`${layer}.input_layernorm.weight`, [width]);
    all.set(`${layer}.self_attn.q_proj.weight`, [query, width]);
    all.set(`${layer}.self_attn.k_proj.weight`, [key, width]);
    all.set(`${layer}.self_attn.v_proj.weight`, [key, width]);
    all.set(`${layer}.self_attn.o_proj.weight`, [width, query]);
    all.set(`${layer}.post_attention_layernorm.weight`, [width]);
    all.set(`${layer}.mlp.gate_proj.weight`, [inner, width]);
    all.set(`${layer}.mlp.up_proj.weight`, [inner, width]);
    all.set(`${layer}.mlp.down_proj.weight`, [width, inner]);
  }
  return all.set('model.norm.weight', [width]);
}

/** Norms start at one, everything else at N(0, initializer_range). */
function startOf(name: string, shape: readonly number[]): Tensor {
  const [rows = 0] = shape;
  if (shape.length === 1) return f32(shape, new Float32Array(rows).fill(1));
  return createRandom(0).fork(name).normal(shape, 0, config.initializer_range);
}

const writeWeights = (tensors: Iterable<readonly [string, Tensor]>) =>
  writeSafetensors(
    `${folder}/model.safetensors`,
    new Map<string, TensorRef>([...tensors].map(([name, tensor]) => [name, tensorRef(tensor)])),
    { metadata: new Map([['format', 'pt']]) },
  );
const writeJson = (file: string, value: unknown) =>
  writeFile(`${folder}/${file}`, `${JSON.stringify(value, null, 1)}\n`);

/** The directory as it is before the first update. */
async function writeStart(texts: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeJson('config.json', config);
  await writeJson('generation_config.json', { bos_token_id: 0, eos_token_id: 0, pad_token_id: 0 });
  await writeJson('tokenizer.json', learnTokenizer(texts, config.vocab_size));
  await writeJson('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: endToken,
    eos_token: endToken,
    pad_token: endToken,
    model_max_length: config.max_position_embeddings,
    clean_up_tokenization_spaces: false,
    // The base knows no roles: the messages are the text.
    chat_template: '{% for message in messages %}{{ message.content }}{% endfor %}',
  });
  await writeWeights([...shapes()].map(([name, shape]) => [name, startOf(name, shape)]));
}

const texts = corpus(100_000);
await writeStart(texts.slice(0, 4000));

const model = await loadModel(folder, { task: causalLm() });
const rows = texts.map((text, index) => model.task.encode({ text }, index));
const { graph, loss } = model.graph('train');
if (!loss) throw new Error('The training graph has no loss.');
const trainables = [...shapes()].map(([name, shape]) => ({
  name,
  value: promoteWeight(graph, name) as ShapedValue,
  shape,
  rule: {},
}));
// A tied head is a second weight of the graph: it has to read what is trained.
for (const [alias, source] of Object.entries(model.tied)) {
  replaceUses(graph, graph.values.get(alias)!, graph.values.get(source)!);
}
const optimizer = adamw({ betas: [0.9, 0.99] });
const groups = [{ lr: rate, decay: 0, optimizer }];
const step = fusedGraph({ graph, loss, trainables }, { groups, groupOf: trainables.map(() => 0), maxGradNorm: 1 });

const backend = onnxruntime();
const program = await backend.compile(step.graph, { outputs: step.outputs, carry: step.carry });
for (const { name, shape } of trainables) await program.write(name, startOf(name, shape));
for (const [name, tensor] of step.state) await program.write(name, tensor);

const order = createOrder({ seed: 0, rows: rows.length, batchSize, gradAccumulation: 1, dropLast: true });
const schedule = createSchedule('linear', steps, { steps: 100 });
const started = Date.now();
for (let t = 0; t < steps; t++) {
  const [indices = []] = order.update(t).batches;
  const batch = model.task.batch(
    indices.map((i) => rows[i]!),
    indices,
  );
  const outputs = await program.run({
    ...batch.feeds,
    loss_weight: f32([], [1 / batch.labels]),
    ...scalarFeeds(groups, { step: t + 1, factor: schedule(t) }),
  });
  if ((t + 1) % 100 === 0) {
    const seconds = (Date.now() - started) / 1000;
    console.log(`step ${t + 1} of ${steps}, loss ${outputs.loss?.data[0]}, ${seconds.toFixed(0)} s`);
  }
}

const trained = await Promise.all(trainables.map(async ({ name }) => [name, await program.read(name)] as const));
await writeWeights(trained);
await program.dispose();
await backend.dispose();
console.log(`written to ${folder}`);
