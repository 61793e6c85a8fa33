import { type Adapter, type Backend, encodeAdapter, isPeftError, train } from '@peftjs/core';
import { elementCount } from '@peftjs/core/tensor';
import { lora } from '@peftjs/lora';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { answers } from '../../demo/answers.js';
import { skills } from '../../demo/skills.js';
import { filesAt } from './base.js';
import type { Answer, Device, NamedFile, Reply, Request, Settings } from './messages.js';

// The model lives here, so that the page stays free: a step blocks the thread it runs on.

const shown = 4;
const threads = crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1;
const model = await loadModel(filesAt(new URL('base', import.meta.url).href), { task: causalLm() });
const lessons = skills();

let device: Device = 'wasm';
let backend: Backend = onnxruntime({ device, threads });
let adapter: Adapter | undefined;
let running: AbortController | undefined;

const say = (reply: Reply): void => postMessage(reply);

async function use(wanted: Device): Promise<void> {
  if (wanted === device) return;
  await backend.dispose();
  device = wanted;
  backend = onnxruntime({ device, threads });
}

/** Lets messages in between two steps: awaiting a step alone does not. */
const breathe = () => new Promise((resume) => setTimeout(resume));

async function teach({ lesson, steps, rank, device }: Settings, signal: AbortSignal): Promise<void> {
  await use(device);
  const { train: data, heldOut } = lessons.find(({ tenant }) => tenant === lesson)!;
  const run = train(model, {
    method: lora({ r: rank, alpha: 2 * rank, targetModules: 'all-linear' }),
    data: data.map((row) => ({ ...row })),
    backend,
    lr: 5e-3,
    steps,
    batchSize: 16,
    warmupRatio: 0.06,
    signal,
  });
  for await (const event of run) {
    if (event.type === 'start') say({ type: 'start', trainable: event.trainable, steps: event.steps });
    if (event.type === 'step') say({ type: 'step', step: event.step, loss: event.loss });
    await breathe();
  }
  adapter = await run.result();
  say({ type: 'asking' });
  const questions = heldOut.slice(0, shown);
  const found = await ask(questions.map(({ prompt }) => prompt));
  const { files } = await encodeAdapter(adapter);
  say({
    type: 'done',
    answers: found.map((answer, i) => ({ ...answer, wanted: questions[i]!.completion })),
    files: [...files].map(([name, bytes]): NamedFile => ({ name, bytes: Uint8Array.from(bytes) })),
  });
}

/** What the base says, and what it says with the adapter. */
async function ask(prompts: readonly string[]): Promise<Answer[]> {
  const base = await answers(model, backend, prompts);
  const adapted = adapter && (await answers(model, backend, prompts, adapter));
  return prompts.map((prompt, i) => ({ prompt, base: base[i]!, ...(adapted && { adapted: adapted[i]! }) }));
}

async function serve(request: Request): Promise<void> {
  if (request.type === 'stop') return running?.abort();
  running = new AbortController();
  try {
    if (request.type === 'train') await teach(request.settings, running.signal);
    else say({ type: 'answer', answer: (await ask([request.prompt]))[0]! });
  } catch (error) {
    if (isPeftError(error) && error.code === 'CANCELLED') say({ type: 'stopped' });
    else say({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
  }
}

const parameters = [...new Set(model.parameters.values())].reduce((sum, { shape }) => sum + elementCount(shape), 0);
const gpu = 'gpu' in navigator && (await (navigator.gpu as { requestAdapter(): Promise<unknown> }).requestAdapter());
addEventListener('message', ({ data }: MessageEvent<Request>) => void serve(data));
say({
  type: 'ready',
  lessons: lessons.map(({ tenant, wants, train, heldOut }) => ({
    name: tenant,
    wants,
    rows: train.length,
    example: heldOut[0]!,
  })),
  parameters,
  devices: gpu ? ['wasm', 'webgpu'] : ['wasm'],
  threads,
});
