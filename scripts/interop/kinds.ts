/**
 * Every kind of update that PEFT has a file for: adapters made of random numbers are written by `writeAdapter` and
 * attached here; PEFT loads the same directories, answers, and merges. Keeps the result in kinds-result.json. Needs a
 * Python with peft (PEFTJS_PYTHON) and the goldens (PEFTJS_SHARED).
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  blockTerm,
  contentDigest,
  createRandom,
  doraTerm,
  indexRef,
  lowRankTerm,
  readAdapter,
  rowsTerm,
  scalingTerm,
  sparseTerm,
  type Target,
  type Term,
  tensor,
  tensorRef,
  writeAdapter,
} from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { goldensPath } from '@peftjs/testkit';
import { findPython } from '../../benchmarks/measure.js';
import { logitsOf } from '../goldens/adapted.js';
import { makeBackend } from '../goldens/backend.js';
import { type Base, feedsOf, openBase } from '../goldens/base.js';
import { judge } from './judge.js';

const root = goldensPath('methods');
const python = await findPython('peft', 'torch', 'transformers');
if (!root) throw new Error('The goldens are missing: set PEFTJS_SHARED.');
if (!python) throw new Error('No Python with peft found: set PEFTJS_PYTHON.');

const random = createRandom(17);
const draw = (name: string, shape: readonly number[], mean = 0, deviation = 0.2) =>
  tensorRef(random.fork(name).normal(shape, mean, deviation));

/** Some distinct numbers below `size`, ascending. */
function choose(name: string, size: number, count: number): number[] {
  const keys = random.fork(name).uniform([size]).data as Float32Array;
  return [...keys.keys()]
    .sort((a, b) => keys[a]! - keys[b]!)
    .slice(0, count)
    .sort((a, b) => a - b);
}

/** The terms of a module by the names of its parameters. */
type Terms = Readonly<Record<string, readonly Term[]>>;

const lies = ({ kind }: Target) => ({ transposed: kind !== 'linear', embedding: kind === 'embedding' });

const makers = {
  entries: ({ path, in: inside, out }: Target): Terms => {
    const indices = choose(path, inside * out, 11 + (path.length % 7));
    const tensors = { indices: indexRef(indices, inside * out), values: draw(path, [indices.length]) };
    return { weight: [sparseTerm(tensors, 0.5)] };
  },
  blocks: ({ path, in: inside, out }: Target): Terms => {
    const rows = blockTerm(
      { indices: indexRef(choose(path, out, 2), out), block: draw(`${path}r`, [2, inside]) },
      { axis: 0 },
    );
    const columns = blockTerm({ indices: indexRef([3], inside), block: draw(`${path}c`, [out, 1]) }, { axis: 1 });
    return { weight: [rows, columns] };
  },
  factors: (target: Target): Terms => ({
    weight: [
      lowRankTerm(
        { a: draw(`${target.path}a`, [2, target.in]), b: draw(`${target.path}b`, [target.out, 2]) },
        { scale: 1.5, ...lies(target) },
      ),
    ],
  }),
  both: (target: Target): Terms => ({ weight: [...makers.factors(target).weight!, ...makers.entries(target).weight!] }),
  dora: (target: Target): Terms => ({
    weight: [
      doraTerm(
        {
          a: draw(`${target.path}a`, [2, target.in]),
          b: draw(`${target.path}b`, [target.out, 2]),
          magnitude: draw(`${target.path}m`, [target.out], 0.6),
        },
        { scale: 1.5, ...lies(target) },
      ),
    ],
  }),
  outputs: (target: Target): Terms => {
    const vector = draw(`${target.path}l`, [target.out], 1);
    const weight = [scalingTerm(vector, { side: 'output', transposed: target.kind === 'conv1d' })];
    return { weight, bias: [scalingTerm(vector, { side: 'output' })] };
  },
  inputs: (target: Target): Terms => {
    const vector = draw(`${target.path}l`, [target.in], 1);
    return { weight: [scalingTerm(vector, { side: 'input', transposed: target.kind === 'conv1d' })] };
  },
  tokens: ({ path, in: size, out }: Target): Terms => ({
    weight: [rowsTerm({ indices: indexRef([5, 17, 99], size), values: draw(path, [3, out]) })],
  }),
};

interface Case {
  readonly base: string;
  readonly class: string;
  readonly labels?: number;
  readonly layout: string;
  /** The layout is given: another would hold it too. */
  readonly asked?: true;
  /** Ends of module paths, and what is done to them. */
  readonly change: Readonly<Record<string, keyof typeof makers>>;
}

const llama = { base: 'tiny-llama', class: 'LlamaForCausalLM' };
const gpt2 = { base: 'tiny-gpt2', class: 'GPT2LMHeadModel' };
const qwen2 = { base: 'tiny-qwen2', class: 'Qwen2ForCausalLM' };
const bert = { base: 'tiny-bert', class: 'BertForSequenceClassification', labels: 3 };
const cases: readonly Case[] = [
  { ...llama, layout: 'SHIRA', change: { q_proj: 'entries', down_proj: 'entries' } },
  { ...llama, layout: 'SHIRA', change: { o_proj: 'blocks', up_proj: 'blocks' } },
  { ...bert, layout: 'SHIRA', change: { query: 'entries', 'output.dense': 'entries' } },
  { ...llama, layout: 'SUPERTUNING', change: { q_proj: 'both', v_proj: 'both', down_proj: 'entries' } },
  { ...qwen2, layout: 'SUPERTUNING', asked: true, change: { k_proj: 'entries', up_proj: 'blocks' } },
  { ...llama, layout: 'LORA', change: { q_proj: 'dora', down_proj: 'dora' } },
  { ...bert, layout: 'LORA', change: { query: 'dora', 'intermediate.dense': 'dora' } },
  { ...llama, layout: 'LORA', change: { v_proj: 'dora', embed_tokens: 'dora' } },
  { ...gpt2, layout: 'LORA', change: { c_attn: 'dora' } },
  { ...llama, layout: 'IA3', change: { k_proj: 'outputs', v_proj: 'outputs', down_proj: 'inputs' } },
  { ...qwen2, layout: 'IA3', change: { k_proj: 'outputs', o_proj: 'inputs' } },
  { ...gpt2, layout: 'IA3', change: { c_attn: 'outputs', 'mlp.c_proj': 'inputs' } },
  { ...llama, layout: 'LORA', change: { q_proj: 'factors', embed_tokens: 'tokens' } },
  { ...qwen2, layout: 'LORA', change: { v_proj: 'factors', embed_tokens: 'tokens' } }, // a tied head follows
  { ...gpt2, layout: 'LORA', change: { c_attn: 'factors', wte: 'tokens' } },
];

async function adapterOf({ model }: Base, { change }: Case): Promise<Adapter> {
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const target of model.targets) {
    const [, kind] = Object.entries(change).find(([end]) => target.path.endsWith(`.${end}`)) ?? [];
    for (const [name, terms] of Object.entries(kind ? makers[kind](target) : {})) {
      const path = `${target.path}.${name}`;
      shape.set(path, model.parameters.get(path)?.shape ?? [target.out]);
      params.set(path, terms);
    }
  }
  const content = { delta: { shape, params }, replaced: new Map() };
  return { ...content, digest: await contentDigest(content) };
}

const work = mkdtempSync(join(tmpdir(), 'peftjs-kinds-'));
const backend = makeBackend('onnxruntime');
const listed = [];
for (const [i, one] of cases.entries()) {
  const record = { name: '', kind: '', base: { path: `models/${one.base}`, class: one.class } };
  const base = await openBase({ root, path: '', record, inputs: new Map(), expected: new Map() });
  const { parameters, targets } = base.model;
  const made = await adapterOf(base, one);
  const dir = join(work, String(i));
  mkdirSync(dir);
  const folder = join(dir, 'adapter');
  const { layout } = await writeAdapter(folder, made, { base: { targets }, ...(one.asked && { layout: one.layout }) });
  assert.equal(layout, one.layout);
  const adapter = await readAdapter(folder, { base: { parameters, targets } });

  const ids = Array.from({ length: 24 }, (_, j) => BigInt((5 + j * 12) % 128)); // 5, 17, ... 99 are among them
  const given = new Map([['input_ids', tensor('i64', [2, 12], BigInt64Array.from(ids))]]);
  const logits = await logitsOf(base, [adapter], feedsOf(base, given), backend);
  const width = logits.shape.at(-1) as number;
  const rows = logits.data.length / width / 2;
  const shaped = { ...logits, shape: one.labels ? [2, width] : [2, rows, width] };
  const [inputs, outputs] = [join(dir, 'inputs.safetensors'), join(dir, 'outputs.safetensors')];
  await writeSafetensors(inputs, new Map([...given].map(([name, t]) => [name, tensorRef(t)])));
  await writeSafetensors(outputs, new Map([['logits', tensorRef(shaped)]]));
  const name = `${one.base} ${one.layout} ${[...new Set(Object.values(one.change))].join(', ')}`;
  const directory = join(root, 'models', one.base);
  listed.push({ name, base: directory, class: one.class, labels: one.labels ?? 0, adapter: folder, inputs, outputs });
}
await backend.dispose();
await judge(python, work, listed, 'kinds-result.json');
