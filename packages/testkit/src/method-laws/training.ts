import { type Adapter, type TrainEvent, type TrainOptions, train } from '@peftjs/core';
import { countingBackend } from '../counting.js';
import { assert, expectPeftError } from '../law.js';
import { tinyRows } from '../tiny-task.js';
import { inFolder } from './files.js';
import type { Scene } from './scene.js';

const steps = 4;

/** Options of a short run of the scene. */
export const trainOptions = async (
  { bound, backend, options }: Scene,
  more: Partial<TrainOptions> = {},
): Promise<TrainOptions> =>
  ({
    method: bound,
    data: tinyRows(),
    backend: await backend(),
    lr: 0.02,
    steps,
    batchSize: 4,
    seed: 3,
    ...options.training,
    ...more,
  }) as TrainOptions;

export async function losses(run: AsyncIterable<TrainEvent>): Promise<number[]> {
  const all: number[] = [];
  for await (const event of run) if (event.type === 'step') all.push(event.loss);
  return all;
}

/** Leaves the loop after the given step. */
async function leaveAfter(run: AsyncIterable<TrainEvent>, step: number): Promise<void> {
  for await (const event of run) if (event.type === 'step' && event.step === step) return;
}

export const trainingLaws: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  async 'learns: the loss of the same rows falls'(scene) {
    const batchSize = tinyRows().length;
    const count = scene.options.training?.steps ?? 15;
    const run = train(scene.model, await trainOptions(scene, { steps: count, batchSize, schedule: 'constant' }));
    const all = await losses(run);
    assert(all.length === count, `${all.length} steps, asked were ${count}`);
    assert(all.every(Number.isFinite), `losses ${all}`);
    assert(all.at(-1)! < all[0]!, `the loss went from ${all[0]} to ${all.at(-1)}`);
  },

  async 'says how many numbers it trains'(scene) {
    for await (const event of train(scene.model, await trainOptions(scene, { steps: 1 }))) {
      if (event.type !== 'start') continue;
      assert(event.trainable === scene.plan.size, `${event.trainable} trainables, the plan says ${scene.plan.size}`);
      return;
    }
  },

  async 'disposes everything it compiles: at the end, left early, aborted and failed'(scene) {
    const backend = countingBackend(await scene.backend());
    const closed = (when: string) => assert(backend.open().length === 0, `${when}: not disposed: ${backend.open()}`);
    const options = await trainOptions(scene, { backend, steps, evalData: tinyRows(4) });

    await train(scene.model, options).result();
    assert(backend.compiled() > 0, 'nothing was compiled on the given backend');
    closed('after the end');
    await leaveAfter(train(scene.model, options), 2);
    closed('left after step 2');
    const controller = new AbortController();
    const aborted = train(scene.model, { ...options, signal: controller.signal });
    await expectPeftError(async () => {
      for await (const event of aborted) if (event.type === 'step') controller.abort();
    }, ['CANCELLED']);
    closed('aborted');
    await train(scene.model, { ...options, lr: 1e30, steps: 20 })
      .result()
      .catch(() => {});
    closed('after a failure');
  },

  async 'left in the middle it goes on from its checkpoint, to the same bits'(scene) {
    const whole: Adapter = await train(scene.model, await trainOptions(scene, { steps })).result();
    await inFolder(async (directory) => {
      const checkpoint = { directory, every: 1 };
      await leaveAfter(train(scene.model, await trainOptions(scene, { checkpoint, steps })), 2);
      const run = train(scene.model, await trainOptions(scene, { checkpoint, resume: true, steps }));
      const rest = await losses(run);
      assert(rest.length === steps - 2, `${rest.length} steps after resuming, ${steps - 2} were left`);
      const { digest } = await run.result();
      assert(digest === whole.digest, `resumed, the adapter is ${digest}; in one go it is ${whole.digest}`);
    });
  },
};
