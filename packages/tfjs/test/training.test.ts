import { type Backend, type Example, type TaskModel, type TrainOptions, train } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { expectClose, sharedPath, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { memory } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { type Device, tfjs } from '../src/index.js';
import { present } from './devices.js';

testMethod(lora, { config: { r: 2, dropout: 0.2, modulesToSave: ['head'] }, backend: () => tfjs({ device: 'wasm' }) });

/** The losses of twenty steps, as a tensor to be compared. */
async function losses<E extends Example>(model: TaskModel<E>, backend: Backend, options: Partial<TrainOptions>) {
  const run = train(model, { backend, steps: 20, seed: 3, ...options } as TrainOptions);
  const all: number[] = [];
  for await (const event of run) if (event.type === 'step') all.push(event.loss);
  await backend.dispose();
  return { dtype: 'f64', shape: [all.length], data: Float64Array.from(all) } as const;
}

/** Trains on ONNX Runtime and here. Twenty updates amplify what the last places of float32 differ in. */
async function agree<E extends Example>(model: TaskModel<E>, options: Partial<TrainOptions>, device: Device) {
  const expected = await losses(model, onnxruntime({ threads: 1 }), options);
  const before = memory().numTensors;
  const got = await losses(model, tfjs({ device }), options);
  expect(memory().numTensors).toBe(before);
  expect(got.data.at(-1)).toBeLessThan(got.data[0]!);
  const { maxRel } = expectClose('losses', got, expected, { absolute: 1e-4 });
  console.info(`${model.name} on ${device}: losses within ${maxRel.toExponential(1)} of ONNX Runtime's`);
}

describe.each(present)('LoRA on %s', (device) => {
  it('learns as on ONNX Runtime', async () => {
    const method = lora({ r: 4, dropout: 0.1, targetModules: ['up', 'down', 'mix', 'embed'], modulesToSave: ['head'] });
    const options = { method, data: tinyRows(24), lr: 0.02, batchSize: 6, weightDecay: 0.01, maxGradNorm: 1 };
    await agree(tinyModel(), options, device);
  });

  it('keeps as many tensors after a thousand steps as after ten', async () => {
    const method = lora({ r: 2, dropout: 0.1, targetModules: ['up', 'mix'] });
    const backend = tfjs({ device });
    const run = train(tinyModel(), { method, data: tinyRows(8), backend, lr: 1e-3, steps: 1000, batchSize: 4 });
    const held = new Map<number, object>();
    for await (const event of run) {
      const { numTensors, numBytes } = memory();
      if (event.type === 'step') held.set(event.step, { numTensors, numBytes });
    }
    expect(held.get(1000)).toEqual(held.get(10));
    await backend.dispose();
  });

  const stories = sharedPath('models', 'stories260k');
  // Plain JavaScript takes half a minute for it.
  it.skipIf(!stories || device === 'cpu')(
    'learns as on ONNX Runtime, a language model (skipped: the shared models are missing)',
    async () => {
      const model = await loadModel(stories!, { task: causalLm() });
      const method = lora({ r: 8, targetModules: ['q_proj', 'v_proj', 'down_proj'] });
      const data = ['The dog and the cat were friends.', 'A bird sat in a tall tree and sang.', 'It rained all day.'];
      const options = { method, data: data.map((text) => ({ text })), lr: 5e-3, batchSize: 3 };
      await agree(model, options, device);
    },
  );
});
