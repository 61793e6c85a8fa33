/**
 * Our adapters in Hugging Face PEFT: trains a few steps with `peft train`, writes logits with `peft forward`, and has
 * PEFT load the same directory and answer. Keeps the result in result.json. Needs a Python with peft (PEFTJS_PYTHON)
 * and PEFTJS_SHARED.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tensor, tensorRef } from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { goldensPath, sharedPath } from '@peftjs/testkit';
import { findPython, measure } from '../../benchmarks/measure.js';
import { judge } from './judge.js';

interface Case {
  readonly name: string;
  readonly base: string;
  readonly class: string;
  readonly task: 'causal-lm' | 'sequence-classification';
  readonly rows: readonly Readonly<Record<string, string>>[];
  readonly set: readonly string[];
  readonly labels?: number;
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const stories = sharedPath('models', 'stories260k');
const encoder = sharedPath('models', 'all-MiniLM-L6-v2');
const python = await findPython('peft', 'torch', 'transformers');
if (!stories || !encoder || !goldensPath()) throw new Error('The shared models are missing: set PEFTJS_SHARED.');
if (!python) throw new Error('No Python with peft found: set PEFTJS_PYTHON.');

const text = [
  'Once upon a time there was a cat.',
  'The dog ran to the park.',
  'She had a red ball.',
  'It was a sunny day.',
];
const lines = text.map((t) => ({ text: t }));
const labelled = text.map((t, i) => ({ text: t, label: String(i % 2) }));
const cases: Case[] = [
  {
    name: 'llama q and v',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=4', 'target_modules=q_proj,v_proj'],
  },
  {
    name: 'llama all-linear, rsLoRA',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=8', 'use_rslora=true', 'target_modules=all-linear'],
  },
  {
    name: 'llama orthogonal start',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=4', 'init=orthogonal', 'target_modules=k_proj,down_proj'],
  },
  {
    name: 'bert classifier',
    base: encoder,
    class: 'BertForSequenceClassification',
    task: 'sequence-classification',
    rows: labelled,
    set: ['r=8', 'target_modules=query,value'],
    labels: 2,
  },
  {
    name: 'bert, biases trained',
    base: encoder,
    class: 'BertForSequenceClassification',
    task: 'sequence-classification',
    rows: labelled,
    set: ['r=2', 'bias=all', 'target_modules=query,dense'],
    labels: 2,
  },
  {
    name: 'llama DoRA',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=4', 'use_dora=true', 'target_modules=q_proj,down_proj'],
  },
  {
    name: 'bert classifier, DoRA',
    base: encoder,
    class: 'BertForSequenceClassification',
    task: 'sequence-classification',
    rows: labelled,
    set: ['r=4', 'use_dora=true', 'target_modules=query,value'],
    labels: 2,
  },
  {
    name: 'llama PiSSA, rsLoRA',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=4', 'init=pissa', 'use_rslora=true', 'target_modules=q_proj,v_proj'],
  },
  {
    name: 'llama OLoRA',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=4', 'init=olora', 'target_modules=q_proj,v_proj'],
  },
  {
    name: 'llama EVA',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=4', 'init=eva', 'target_modules=all-linear'],
  },
  {
    name: 'llama, trained tokens, tied head',
    base: stories,
    class: 'LlamaForCausalLM',
    task: 'causal-lm',
    rows: lines,
    set: ['r=4', 'target_modules=q_proj,v_proj', 'trainable_token_indices={"embed_tokens":[42,79,5]}'],
  },
  {
    name: 'bert classifier, trained tokens',
    base: encoder,
    class: 'BertForSequenceClassification',
    task: 'sequence-classification',
    rows: labelled,
    set: ['r=4', 'target_modules=query,value', 'trainable_token_indices={"word_embeddings":[42,79,2000]}'],
    labels: 2,
  },
];

const work = mkdtempSync(join(tmpdir(), 'peftjs-interop-'));
const peft = (...args: string[]) =>
  measure(process.execPath, [here('../../packages/cli/bin/peft.mjs'), ...args, '--json', '--quiet']);
const listed = [];
for (const [i, c] of cases.entries()) {
  const dir = join(work, String(i));
  mkdirSync(dir);
  const data = join(dir, 'data.jsonl');
  writeFileSync(data, c.rows.map((row) => JSON.stringify(row)).join('\n'));
  const adapter = join(dir, 'adapter');
  const sets = c.set.flatMap((pair) => ['--set', pair]);
  await peft(
    'train',
    '--model',
    c.base,
    '--task',
    c.task,
    '--data',
    data,
    '--method',
    'lora',
    ...sets,
    '--lr',
    '1e-2',
    '--steps',
    '5',
    '--batch-size',
    '4',
    '--output',
    adapter,
  );

  const ids = Array.from({ length: 24 }, (_, j) => BigInt(5 + ((j * 37) % 400)));
  const mask = ids.map((_, j) => (j >= 20 ? 0n : 1n));
  const [inputs, outputs] = [join(dir, 'inputs.safetensors'), join(dir, 'outputs.safetensors')];
  const grid = (values: bigint[]) => tensorRef(tensor('i64', [2, 12], BigInt64Array.from(values)));
  const given =
    c.task === 'causal-lm' ? { input_ids: grid(ids) } : { input_ids: grid(ids), attention_mask: grid(mask) };
  await writeSafetensors(inputs, new Map(Object.entries(given)));
  await peft('forward', '--model', c.base, '--adapter', adapter, '--inputs', inputs, '--output', outputs);
  listed.push({ name: c.name, base: c.base, class: c.class, labels: c.labels ?? 0, adapter, inputs, outputs });
}
await judge(python, work, listed, 'result.json');
