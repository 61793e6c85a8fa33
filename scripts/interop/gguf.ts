/**
 * Our GGUF adapters in llama.cpp: trains a few steps on a base of which there is a GGUF file too, converts the adapter
 * with `peft convert`, and compares how it changes the logits behind ten prompts, here and there, by cosine. Keeps the
 * result in gguf-result.json. Needs a Python with llama_cpp and safetensors (PEFTJS_PYTHON).
 *
 * node scripts/run.mjs scripts/interop/gguf.ts FOLDER: FOLDER holds model.gguf and hf/, the same weights for us.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Tensor, tensor, tensorRef } from '@peftjs/core';
import { openSafetensors, writeSafetensors } from '@peftjs/core/files';
import { readTokenizer } from '@peftjs/models';
import { findPython, measure } from '../../benchmarks/measure.js';
import { writeFloatModel } from './gguf-base.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const [folder] = process.argv.slice(2);
if (!folder) throw new Error('Give the folder that holds model.gguf and hf/.');
const python = await findPython('llama_cpp', 'safetensors');
if (!python) throw new Error('No Python with llama_cpp and safetensors found: set PEFTJS_PYTHON.');
const base = join(folder, 'hf');

const prompts = [
  'The capital of France is',
  'Once upon a time there was',
  'Water boils at a temperature of',
  'The best way to learn a language is',
  'In the year 1969 people first',
  'My favourite food is',
  'A good friend always',
  'The sun rises in the',
  'To bake bread you need flour and',
  'Every morning the old man',
];

/** What of the adapter is varied: the start with one alpha, and scales that only folding can say. */
const variants: readonly { name: string; set: readonly string[] }[] = [
  { name: 'q and v', set: ['r=8', 'target_modules=q_proj,v_proj'] },
  { name: 'all-linear, rsLoRA', set: ['r=6', 'use_rslora=true', 'target_modules=all-linear'] },
];

const peft = (...args: string[]) =>
  measure(process.execPath, [here('../../packages/cli/bin/peft.mjs'), ...args, '--json', '--quiet']);

const tokenizer = await readTokenizer(base);
if (!tokenizer) throw new Error(`${base} has no tokenizer.json.`);
const ids = prompts.map((prompt) => [...tokenizer.encode(prompt).ids]);
const longest = Math.max(...ids.map(({ length }) => length));

/** One row a prompt, filled up at its end. */
const grid = (value: (row: number, at: number) => number) =>
  tensorRef(
    tensor(
      'i64',
      [ids.length, longest],
      BigInt64Array.from(ids.flatMap((_, row) => Array.from({ length: longest }, (_, at) => BigInt(value(row, at))))),
    ),
  );

const work = mkdtempSync(join(tmpdir(), 'peftjs-interop-gguf-'));
const inputs = join(work, 'inputs.safetensors');
await writeSafetensors(
  inputs,
  new Map([
    ['input_ids', grid((row, at) => ids[row]![at] ?? 0)],
    ['attention_mask', grid((row, at) => (at < ids[row]!.length ? 1 : 0))],
  ]),
);

/** Our logits behind the last token of each prompt. */
async function ours(name: string, ...adapter: string[]): Promise<Float32Array[]> {
  const output = join(work, `${name}.safetensors`);
  await peft('forward', '--model', base, ...adapter, '--inputs', inputs, '--output', output);
  const { shape, data } = await (await openSafetensors(output)).tensors.get('logits')!.read();
  const width = shape.at(-1)!;
  return ids.map(({ length }, row) => {
    const at = (row * longest + length - 1) * width;
    return (data as Float32Array).subarray(at, at + width);
  });
}

const rowsOf = ({ shape, data }: Tensor): Float32Array[] =>
  ids.map((_, row) => (data as Float32Array).subarray(row * shape[1]!, (row + 1) * shape[1]!));

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const minus = (a: Float32Array, b: Float32Array): Float32Array => a.map((x, i) => x - b[i]!);
const norm = (a: Float32Array): number => Math.sqrt(dot(a, a));

const data = join(work, 'data.jsonl');
writeFileSync(data, prompts.map((text) => JSON.stringify({ text: `${text} purple elephants.` })).join('\n'));
const plain = await ours('base');
const model = join(work, 'model.gguf');
await writeFloatModel(folder, model);
const results: { name: string; worstCosine: number; sizeRatio: number; baseCosine: number; alpha: number }[] = [];
let versions: Record<string, string> = {};
for (const [i, { name, set }] of variants.entries()) {
  const dir = join(work, String(i));
  mkdirSync(dir);
  const [adapter, gguf] = [join(dir, 'adapter'), join(dir, 'adapter.gguf')];
  const training = ['--task', 'causal-lm', '--data', data, '--method', 'lora', '--lr', '5e-3', '--steps', '10'];
  const sets = set.flatMap((pair) => ['--set', pair]);
  await peft('train', '--model', base, ...training, ...sets, '--batch-size', '5', '--output', adapter);
  const { stdout } = await peft('convert', adapter, gguf, '--to', 'gguf', '--base', base);
  const { alpha } = JSON.parse(stdout.trim().split('\n').at(-1)!) as { alpha: number };
  const adapted = await ours(`adapted-${i}`, '--adapter', adapter);

  writeFileSync(join(work, 'cases.json'), JSON.stringify({ model, adapter: gguf, prompts: ids }));
  const checked = await measure(python, [here('gguf.py'), work]);
  versions = JSON.parse(checked.stdout.trim().split('\n').at(-1)!) as Record<string, string>;
  const llama = (await openSafetensors(join(work, 'llama.safetensors'))).tensors;
  const [theirBase, theirs] = [rowsOf(await llama.get('base')!.read()), rowsOf(await llama.get('adapted')!.read())];

  const cosine = (a: Float32Array, b: Float32Array) => dot(a, b) / (norm(a) * norm(b));
  const compared = ids.map((_, row) => {
    const [a, b] = [minus(adapted[row]!, plain[row]!), minus(theirs[row]!, theirBase[row]!)];
    return { cosine: cosine(a, b), base: cosine(plain[row]!, theirBase[row]!), ratio: norm(b) / norm(a) };
  });
  const ratios = compared.map(({ ratio }) => ratio);
  results.push({
    name,
    worstCosine: Math.min(...compared.map((row) => row.cosine)),
    baseCosine: Math.min(...compared.map(({ base }) => base)),
    sizeRatio: ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length,
    alpha,
  });
}
rmSync(work, { recursive: true });

console.table(results);
// llama.cpp keeps keys and values in half precision; a wrong row order, scale or pair gives cosines near 0 or ratios off by factors.
const wrong = results.filter(({ worstCosine, sizeRatio }) => !(worstCosine > 0.99 && Math.abs(sizeRatio - 1) < 0.05));
writeFileSync(here('gguf-result.json'), `${JSON.stringify({ ...versions, results }, null, 2)}\n`);
console.log(`${results.length - wrong.length} passed, ${wrong.length} failed`);
process.exitCode = wrong.length ? 1 : 0;
