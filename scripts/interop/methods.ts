/**
 * Methods whose adapters become a layout of PEFT's when they are saved: their tensors, drawn at random, are written
 * by `writeAdapter` and attached here; PEFT loads the same directories, answers, and merges. Keeps the result in
 * methods-result.json. Needs a Python with peft (PEFTJS_PYTHON) and the goldens (PEFTJS_SHARED).
 */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  type Bound,
  createRandom,
  readAdapter,
  startTensors,
  type Tensor,
  tensor,
  tensorRef,
  toAdapter,
  writeAdapter,
} from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { ia3 } from '@peftjs/ia3';
import { materialize, nola } from '@peftjs/nola';
import { sora } from '@peftjs/sora';
import { goldensPath } from '@peftjs/testkit';
import { vera } from '@peftjs/vera';
import { findPython } from '../../benchmarks/measure.js';
import { logitsOf, planOf } from '../goldens/adapted.js';
import { makeBackend } from '../goldens/backend.js';
import { type Base, feedsOf, openBase } from '../goldens/base.js';
import { judge } from './judge.js';

interface Case {
  readonly name: string;
  readonly base: string;
  readonly class: string;
  readonly labels?: number;
  readonly method: Bound;
  /** A trained tensor, from its name and random numbers of its shape. Default: the random numbers. */
  readonly trained?: (name: string, drawn: Tensor) => Tensor;
  /** What is written. Default: the adapter as it is. */
  readonly exported?: (adapter: Adapter) => Promise<Adapter>;
}

const root = goldensPath('methods');
const python = await findPython('peft', 'torch', 'transformers');
if (!root) throw new Error('The goldens are missing: set PEFTJS_SHARED.');
if (!python) throw new Error('No Python with peft found: set PEFTJS_PYTHON.');

const llama = { base: 'tiny-llama', class: 'LlamaForCausalLM' };
const gpt2 = { base: 'tiny-gpt2', class: 'GPT2LMHeadModel' };
const bert = { base: 'tiny-bert', class: 'BertForSequenceClassification', labels: 3 };

/** Half of the gates closed; all of them in the first layer's first target, which leaves the adapter. */
const gated = (closed: string) => (name: string, drawn: Tensor) =>
  name.endsWith(':g')
    ? { ...drawn, data: (drawn.data as Float32Array).map((g) => (name.startsWith(closed) || g < 0 ? 0 : g)) }
    : drawn;

const cases: readonly Case[] = [
  {
    name: 'sora, llama',
    ...llama,
    method: sora({ r: 6, alpha: 5, targetModules: ['q_proj', 'down_proj'] }),
    trained: gated('model.layers.0.self_attn.q_proj'),
  },
  {
    name: 'sora, bert, a module of each kind',
    ...bert,
    method: sora({ r: 5, targetModules: ['query', 'intermediate.dense', 'output.dense'], bias: 'sora_only' }),
    trained: gated('bert.encoder.layer.0.intermediate.dense'),
  },
  {
    name: 'sora, gpt2',
    ...gpt2,
    method: sora({ r: 4, targetModules: ['c_attn', 'c_fc'] }),
    trained: gated('transformer.h.0.attn.c_attn'),
  },
  {
    name: 'nola, llama',
    ...llama,
    method: nola({ r: 4, alpha: 6, bases: 24, targetModules: ['q_proj', 'up_proj'] }),
    exported: materialize,
  },
  {
    name: 'nola, gpt2, eight bits',
    ...gpt2,
    method: nola({ r: 3, alpha: 6, bases: 16, bits: 8, variant: 'paper', targetModules: ['c_attn', 'c_proj'] }),
    exported: materialize,
  },
  {
    name: 'nola, bert',
    ...bert,
    method: nola({ r: 2, alpha: 4, bases: 16, variant: 'vit', targetModules: ['query', 'value'] }),
    exported: materialize,
  },
  { name: 'ia3, llama, places of the paper', ...llama, method: ia3() },
  {
    name: 'ia3, bert',
    ...bert,
    method: ia3({ targetModules: ['key', 'value', 'output.dense'], feedforwardModules: ['output.dense'] }),
  },
  {
    name: 'ia3, gpt2',
    ...gpt2,
    method: ia3({ targetModules: ['c_attn', 'mlp.c_proj'], feedforwardModules: '.*mlp.c_proj' }),
  },
  {
    name: 'vera, llama, shapes that differ',
    ...llama,
    method: vera({ r: 12, targetModules: ['q_proj', 'down_proj'] }),
  },
  {
    name: 'vera, gpt2, projections from the key',
    ...gpt2,
    method: vera({ r: 8, projectionPrngKey: 42, saveProjection: false, targetModules: ['c_attn', 'c_fc'] }),
  },
  {
    name: 'vera, bert, biases',
    ...bert,
    method: vera({ r: 16, targetModules: ['query', 'output.dense'], bias: 'vera_only' }),
  },
];

async function adapterOf(base: Base, { method, trained, exported }: Case): Promise<Adapter> {
  const { parameters } = base.model;
  const plan = await planOf(base, method);
  const start = await startTensors(plan, { seed: 5, parameters });
  const random = createRandom(23);
  const train = new Map(
    [...start.train].map(([name, { shape }]) => {
      const drawn = random.fork(name).normal(shape, 0, 0.3);
      return [name, trained?.(name, drawn) ?? drawn] as const;
    }),
  );
  const adapter = await toAdapter(plan, { ...start, train }, { parameters });
  return exported ? exported(adapter) : adapter;
}

const work = mkdtempSync(join(tmpdir(), 'peftjs-methods-'));
const backend = makeBackend('onnxruntime');
const listed = [];
for (const [i, one] of cases.entries()) {
  const record = { name: '', kind: '', base: { path: `models/${one.base}`, class: one.class } };
  const base = await openBase({ root, path: '', record, inputs: new Map(), expected: new Map() });
  const { parameters, targets } = base.model;
  const dir = join(work, String(i));
  mkdirSync(dir);
  const folder = join(dir, 'adapter');
  await writeAdapter(folder, await adapterOf(base, one), {
    layout: one.exported ? 'LORA' : one.method.method.layout,
    base: { targets },
  });
  const adapter = await readAdapter(folder, { base: { parameters, targets } });

  const ids = Array.from({ length: 24 }, (_, j) => BigInt((5 + j * 12) % 128));
  const given = new Map([['input_ids', tensor('i64', [2, 12], BigInt64Array.from(ids))]]);
  const logits = await logitsOf(base, [adapter], feedsOf(base, given), backend);
  const width = logits.shape.at(-1) as number;
  const shaped = { ...logits, shape: one.labels ? [2, width] : [2, logits.data.length / width / 2, width] };
  const [inputs, outputs] = [join(dir, 'inputs.safetensors'), join(dir, 'outputs.safetensors')];
  await writeSafetensors(inputs, new Map([...given].map(([name, t]) => [name, tensorRef(t)])));
  await writeSafetensors(outputs, new Map([['logits', tensorRef(shaped)]]));
  const directory = join(root, 'models', one.base);
  const { name, class: kind, labels = 0 } = one;
  listed.push({ name, base: directory, class: kind, labels, adapter: folder, inputs, outputs });
}
await backend.dispose();
await judge(python, work, listed, 'methods-result.json');
