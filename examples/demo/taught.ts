import { join } from 'node:path';
import { type Backend, readAdapter, train, writeAdapter } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { causalLm, loadModel, type Model } from '@peftjs/models';
import { answers } from './answers.js';
import { writeMerged } from './merged.js';
import { exactMatch, type Skill } from './skills.js';

/** What one tenant's adapter changed, on prompts it was not trained on. */
export interface Taught {
  readonly trained: number;
  readonly seconds: number;
  readonly loss: number;
  /** Exact matches of the bare base, with the adapter as read back from its file, and merged into the base. */
  readonly before: number;
  readonly after: number;
  readonly merged: number;
  /** Answers with the adapter, in the order of the held-out prompts. */
  readonly answers: readonly string[];
  readonly baseAnswers: readonly string[];
}

/** Trains one tenant's adapter, saves it, reads it back, merges it, and compares. `progress` hears every step. */
export async function teach(
  model: Model,
  backend: Backend,
  { tenant, train: data, heldOut }: Skill,
  folder: string,
  progress: (done: number, loss: number) => void,
): Promise<Taught> {
  const prompts = heldOut.map(({ prompt }) => prompt);
  const baseAnswers = await answers(model, backend, prompts);

  const started = performance.now();
  const run = train(model, {
    method: lora({ r: 8, alpha: 16, targetModules: 'all-linear' }),
    data: data.map((row) => ({ ...row })),
    backend,
    lr: 5e-3,
    steps: 300,
    batchSize: 16,
    warmupRatio: 0.06,
  });
  let [trained, steps, loss] = [0, 1, Number.NaN];
  for await (const event of run) {
    if (event.type === 'start') [trained, steps] = [event.trainable, event.steps];
    if (event.type !== 'step') continue;
    loss = event.loss;
    progress(event.step / steps, loss);
  }
  const path = join(folder, tenant);
  await writeAdapter(path, await run.result());
  const seconds = (performance.now() - started) / 1000;

  const adapter = await readAdapter(path);
  const adapted = await answers(model, backend, prompts, adapter);
  await writeMerged(join(folder, `${tenant}-merged`), model, adapter);
  const alone = await loadModel(join(folder, `${tenant}-merged`), { task: causalLm() });
  const merged = await answers(alone, backend, prompts);
  const right = (texts: readonly string[]) => exactMatch(texts, heldOut);
  return {
    trained,
    seconds,
    loss,
    before: right(baseAnswers),
    after: right(adapted),
    merged: right(merged),
    answers: adapted,
    baseAnswers,
  };
}
