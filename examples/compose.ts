import { fileURLToPath } from 'node:url';
import { evaluate, readAdapter, scale, sum } from '@peftjs/core';
import { causalLm, loadModel, rows } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';

// Adapters are values: added, scaled, taken away again. What is added exactly can be removed exactly.

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const backend = onnxruntime();
const model = await loadModel(here('demo/base'), { task: causalLm() });
const style = await readAdapter(here('fixtures/style'));
const domain = await readAdapter(here('fixtures/domain'));

const both = sum(style, scale(domain, 0.5));
const removed = sum(both, scale(domain, -0.5));

const loss = async (adapter?: typeof style) =>
  (await evaluate(model, { data: rows(here('fixtures/train.jsonl')), backend, ...(adapter && { adapter }) })).loss!;
const [base, one, two, again] = [await loss(), await loss(style), await loss(both), await loss(removed)];
console.log(`loss: base ${base}, style ${one}, style + domain / 2 ${two}, and domain taken away ${again}`);
if (Math.abs(again - one) > 1e-5) throw new Error(`Taking an adapter away changed the loss by ${again - one}.`);
await backend.dispose();
