import { fileURLToPath } from 'node:url';
import { evaluate, readAdapter, scale, sum } from '@peftjs/core';
import { causalLm, loadModel, openWriter, rows, type Writer } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';

// Adapters are values: added, scaled, taken away again. What is added exactly can be removed exactly. In a session their
// weights change from one run to the next, and nothing is compiled again.

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

const named = Object.entries({ style, domain }).map(([name, adapter]) => ({ adapter, name, weight: 0 }));
const [weighted, summed] = [
  await openWriter(model, { backend, adapters: named }),
  await openWriter(model, { backend, adapters: [both] }),
];
const written = async (writer: Writer, weights?: Readonly<Record<string, number>>) => {
  const prompts = ['Where does the fox live?'];
  const [completion] = await writer.generate(prompts, { maxNewTokens: 12, ...(weights && { weights }) }).result();
  return completion!.text;
};
console.log(`written by the base: ${await written(weighted)}`);
const mixed = await written(weighted, { style: 1, domain: 0.5 });
console.log(`with style + domain / 2: ${mixed}`);
if (mixed !== (await written(summed)))
  throw new Error('Weighted in a run, the adapters write otherwise than their sum.');
for (const writer of [weighted, summed]) await writer.dispose();
await backend.dispose();
