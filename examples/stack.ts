import { fileURLToPath } from 'node:url';
import { evaluate, stack, sum, train } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { causalLm, loadModel, rows } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { s2ft } from '@peftjs/s2ft';

// Two methods on one base: whole feed-forward channels first, then low-rank factors on top of them, frozen.

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const backend = onnxruntime();
const model = await loadModel(here('demo/base'), { task: causalLm() });
const data = rows(here('fixtures/train.jsonl'));
const common = { data, backend, lr: 3e-3, steps: 20, batchSize: 4 };

const channels = await train(model, { ...common, method: s2ft({ ratio: 0.1, roles: ['down'] }) }).result();
const onTop = stack(model, [channels]);
const factors = await train(onTop, { ...common, method: lora({ r: 4, targetModules: ['q_proj', 'v_proj'] }) }).result();

const loss = async (adapter?: typeof channels) =>
  (await evaluate(model, { data, backend, ...(adapter && { adapter }) })).loss!;
const [base, one, both] = [await loss(), await loss(channels), await loss(sum(channels, factors))];
console.log(`loss: base ${base}, channels ${one}, channels + factors ${both}`);
if (!(both < one && one < base)) throw new Error('Training on top did not help.');
const stacked = (await evaluate(onTop, { data, backend, adapter: factors })).loss!;
if (Math.abs(stacked - both) > 1e-4) throw new Error(`The sum is ${both - stacked} off what was trained.`);
await backend.dispose();
