import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { evaluate, readAdapter, train, writeAdapter } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { loadModel, openSession, rows, sequenceClassification } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';

// A classifier on an encoder that has no head: the head is made new, trained in full, and saved with the adapter in the
// files of Hugging Face PEFT. Read back, it answers.

const fixture = (path: string) => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url));
const backend = onnxruntime();
const task = sequenceClassification({ labels: ['negative', 'positive'] });
const model = await loadModel(fixture('encoder'), { task });

const before = await evaluate(model, { data: rows(fixture('train.tsv')), backend });
const run = train(model, {
  method: lora({ r: 4, targetModules: ['query', 'value'] }),
  data: rows(fixture('train.tsv')),
  backend,
  lr: 1e-2,
  epochs: 40,
});
const adapter = await run.result();
const after = await evaluate(model, { adapter, data: rows(fixture('train.tsv')), backend });

console.log(`accuracy on its own rows: ${before.accuracy} before, ${after.accuracy} after`);
if (!(after.accuracy! > 0.9)) throw new Error('The classifier has not learned its rows.');

const folder = await mkdtemp(join(tmpdir(), 'peftjs-classify-'));
await writeAdapter(folder, adapter);
const session = await openSession(model, { backend, adapters: [await readAdapter(folder)] });
for (const { label, scores } of await session.predict(['a fine story with warm music', 'the film is slow and empty']))
  console.log(label, scores!.map((score) => score.toFixed(3)).join(' '));
await session.dispose();
await rm(folder, { recursive: true });
await backend.dispose();
