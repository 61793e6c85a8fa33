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
const loading = loadModel(filesAt(new URL('base', import.meta.url).href), { task: causalLm() });
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

async function teach({ lesson, steps, rank, device }: Settings): Promise<void> {
  running = new AbortController();
  await use(device);
  const model = await loading;
  const { train: data, heldOut } = lessons.find(({ tenant }) => tenant === lesson)!;
  const run = train(model, {
    method: lora({ r: rank, alpha: 2 * rank, targetModules: 'all-linear' }),
    data: data.map((row) => ({ ...row })),
    backend,
    lr: 5e-3,
    steps,
    batchSize: 16,
    warmupRatio: 0.06,
    signal: running.signal,
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
  const model = await loading;
  const base = await answers(model, backend, prompts);
  const adapted = adapter && (await answers(model, backend, prompts, adapter));
  return prompts.map((prompt, i) => ({ prompt, base: base[i]!, ...(adapted && { adapted: adapted[i]! }) }));
}

async function reply(prompt: string): Promise<void> {
  const [answer] = await ask([prompt]);
  say({ type: 'answer', answer: answer! });
}

/** Does what was asked; what goes wrong is said to the visitor. */
async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (isPeftError(error) && error.code === 'CANCELLED') say({ type: 'stopped' });
    else say({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
  }
}

function serve(request: Request): void {
  if (request.type === 'stop') running?.abort();
  else void attempt(() => (request.type === 'train' ? teach(request.settings) : reply(request.prompt)));
}

async function introduce(): Promise<void> {
  const weights = new Set((await loading).parameters.values()); // tied ones are one reference under two names
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<unknown> } };
  say({
    type: 'ready',
    lessons: lessons.map(({ tenant, wants, train, heldOut }) => ({
      name: tenant,
      wants,
      rows: train.length,
      example: heldOut[0]!,
    })),
    parameters: [...weights].reduce((sum, { shape }) => sum + elementCount(shape), 0),
    devices: (await gpu?.requestAdapter()) ? ['wasm', 'webgpu'] : ['wasm'],
    threads,
  });
}

addEventListener('message', ({ data }: MessageEvent<Request>) => serve(data));
void attempt(introduce);
