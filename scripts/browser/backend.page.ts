import { createGraph, createOps, f32, isPeftError, train } from '@peftjs/core';
import { blobSource, type FileSet } from '@peftjs/core/files';
import { lora } from '@peftjs/lora';
import { loadModel, sequenceClassification } from '@peftjs/models';
import { type Device, onnxruntime } from '@peftjs/onnxruntime';
import { backendLaws } from '../../packages/testkit/src/backend-laws/index.js';

// Runs in a page. What a test calls is put on the global object.

const files: FileSet = {
  name: 'encoder',
  async open(name) {
    const response = await fetch(`encoder/${name}`);
    return response.ok ? blobSource(await response.blob(), name) : undefined;
  },
};

/** Checks the laws of a backend. @returns each law with what is wrong, null when nothing is */
async function laws(device: Device, relToMax: number): Promise<(readonly [name: string, problem: string | null])[]> {
  const found: (readonly [string, string | null])[] = [];
  for (const { name, check } of backendLaws(() => onnxruntime({ device, threads: 1 }), { tolerance: { relToMax } })) {
    const problem = await check().then(
      () => null,
      (error: Error) => error.message,
    );
    found.push([name, problem]);
  }
  return found;
}

/** The losses of a short LoRA run over a small encoder. */
async function losses(device: Device, steps: number): Promise<number[]> {
  const backend = onnxruntime({ device, threads: 1 });
  const labels = ['negative', 'positive'];
  const model = await loadModel(files, { task: sequenceClassification({ labels }) });
  const text = await (await fetch('train.tsv')).text();
  const lines = text.trim().split('\n').slice(1);
  const run = train(model, {
    method: lora({ r: 4, targetModules: ['query', 'value'] }),
    data: lines.map((line) => ({ text: line.split('\t')[0]!, label: line.split('\t')[1]! })),
    backend,
    lr: 1e-2,
    steps,
    batchSize: lines.length, // one shape: a GPU compiles its programs anew for another
  });
  const found: number[] = [];
  for await (const event of run) if (event.type === 'step') found.push(event.loss);
  await backend.dispose();
  return found;
}

/** What a program says when its graphics card goes away between two runs. */
async function lost(): Promise<{ readonly code: string | undefined; readonly message: string }> {
  const graph = createGraph('doubled');
  const ops = createOps(graph);
  ops.output(ops.mul(ops.input('x', 'f32', ['n']), 2), 'y');
  const program = await onnxruntime({ device: 'webgpu', threads: 1 }).compile(graph);
  const x = f32([2], [1, 2]);
  await program.run({ x });
  const { env } = await import('onnxruntime-web/webgpu');
  ((await env.webgpu.device) as unknown as { destroy(): void }).destroy();
  try {
    await program.run({ x });
    return { code: undefined, message: 'it went on' };
  } catch (error) {
    return { code: isPeftError(error) ? error.code : undefined, message: String(error) };
  }
}

export interface BackendPage {
  laws: typeof laws;
  losses: typeof losses;
  lost: typeof lost;
}
Object.assign(globalThis, { laws, losses, lost } satisfies BackendPage);
