import { fileURLToPath } from 'node:url';
import { type Adapter, applyAdapter, evaluate, sum, train, unapply } from '@peftjs/core';
import { causalLm, loadModel, rows } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { sft } from '@peftjs/sft';

// Composable sparse fine-tuning: what sentences look like is learned once, what to do with them apart from that, each as
// a few changed numbers of the base. The sum of the two does both, and comes off again without a trace.

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const backend = onnxruntime();
const model = await loadModel(here('demo/base'), { task: causalLm() });
const orders: Readonly<Record<string, string>>[] = [];
for await (const row of rows(here('fixtures/train.jsonl'))) orders.push(row);
const sentences = orders.map(({ prompt = '' }) => ({ text: prompt }));
const recipe = { backend, lr: 5e-3, steps: 40, maxGradNorm: 1 };

const language = await train(model, {
  ...recipe,
  method: sft({ density: 0.02, fullL1: 0.1, sparseL1: 0.1 }),
  data: sentences,
}).result();
const task = await train(model, { ...recipe, method: sft({ density: 0.02 }), data: orders }).result();
const both = sum(language, task);

const loss = async (data: typeof sentences | typeof orders, adapter?: Adapter) =>
  (await evaluate(model, { data, backend, ...(adapter && { adapter }) })).loss!;
for (const [name, adapter] of Object.entries({ base: undefined, language, task, both }))
  console.log(`${name}: sentences ${await loss(sentences, adapter)}, orders ${await loss(orders, adapter)}`);
if (!((await loss(orders, both)) < (await loss(orders, language)))) throw new Error('The sum has lost its task.');
if (!((await loss(sentences, both)) < (await loss(sentences)))) throw new Error('The sum has lost its language.');

const merged = applyAdapter(model.parameters, both);
const restored = unapply(merged);
for (const [path, ref] of model.parameters) {
  const [before, after] = [await ref.read(), await restored.get(path)!.read()];
  if (before.data.some((x, i) => x !== after.data[i])) throw new Error(`${path} is not what it was.`);
}
console.log(`${both.delta.params.size} parameters were changed and given back bit for bit.`);
await backend.dispose();
