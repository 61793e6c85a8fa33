/** A fixed step of ours: batch 16 x 128, LoRA r 8 on query and value, AdamW. Prints one JSON line like peer.py. */
import { train } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { loadModel, sequenceClassification } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';

const [directory, steps] = process.argv.slice(2) as [string, string];
const model = await loadModel(directory, { task: sequenceClassification({ labels: ['0', '1'], maxLength: 128 }) });
const rows = Array.from({ length: 16 }, (_, i) => ({ text: 'a film of many words '.repeat(40), label: String(i % 2) }));
const backend = onnxruntime({ threads: 2 });
const run = train(model, {
  method: lora({ r: 8, alpha: 16, targetModules: ['query', 'value'] }),
  data: rows,
  backend,
  lr: 1e-3,
  steps: Number(steps),
  batchSize: 16,
});
const seconds: number[] = [];
for await (const event of run) if (event.type === 'step') seconds.push(event.seconds);
await backend.dispose();
console.log(JSON.stringify({ seconds }));
