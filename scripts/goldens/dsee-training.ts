import { join } from 'node:path';
import { f32, readAdapter, type Tensor } from '@peftjs/core';
import { logitsOf, mergedParameter } from './adapted.js';
import { feedsOf, masked, openBase } from './base.js';
import type { CaseFolder, RunContext } from './case.js';
import { createChecks } from './checks.js';
import { by, type DseeRecord, importances, masksIn, type Named, planned, pruned } from './dsee-case.js';
import { compareAll, compareExport, compareHeads, compareMasks, onMasked } from './dsee-checks.js';
import { runOf } from './optimizers.js';
import { adapterOf, slopesAt, stepsOf, type Trained, trainedLogits } from './trained.js';

const added = (a: Named, b: Named): Named =>
  new Map(
    [...a].map(([name, { shape, data }]) => [
      name,
      f32(
        shape,
        Array.from(data as Float32Array, (x, i) => x + Number(b.get(name)!.data[i])),
      ),
    ]),
  );

/** Both phases of a run: forward, gradients, updates, masks, and the adapters of their ends. */
export async function runTraining(folder: CaseFolder<DseeRecord>, { backend }: RunContext): Promise<void> {
  const { config } = folder.record;
  const { inputs, expected } = folder;
  const base = await openBase(folder);
  const feeds = feedsOf(base, inputs);
  const first = await planned(folder, base);
  const checks = createChecks(folder);
  const mask = inputs.get('attention_mask');
  const logits = (name: string, got: Tensor, like?: string) =>
    checks.tensor(name, masked(got, expected.get(name)!, mask), like);
  const recipe = (phase: 0 | 1) => ({ ...runOf(config.optimizer), steps: config.optimizer.steps[phase] });
  /** Trains a phase: compares the loss before each update and after the last; where the last began, and what it left. */
  async function phase(number: 0 | 1, trained: Trained): Promise<{ readonly before: Named; readonly end: Named }> {
    const losses: number[] = [];
    let [before, end] = [trained.start.train, trained.start.train];
    for await (const { loss, train } of stepsOf(trained, recipe(number), feeds, backend)) {
      losses.push(loss);
      [before, end] = [end, train];
    }
    losses.push((await slopesAt(trained, end, feeds, backend)).loss);
    checks.tensor(`loss/phase${number + 1}`, f32([losses.length], losses));
    return { before, end };
  }

  logits('logits/base', await logitsOf(base, [], feeds, backend));
  logits('logits/start', await trainedLogits(first, first.start.train, feeds, backend));
  const start = await slopesAt(first, first.start.train, feeds, backend);
  checks.tensor('loss/start', f32([], [start.loss]));
  compareAll(checks, 'grad', start.gradients);
  const { before, end: middle } = await phase(0, first);
  compareAll(checks, 'phase1', middle);
  const unmasked = await adapterOf(first, middle);
  logits('logits/phase1_end', await logitsOf(base, [unmasked], feeds, backend));

  await compareHeads(checks, folder, base, unmasked, async (smaller) =>
    logits('logits/heads_removed', await logitsOf(smaller, [], feeds, backend)),
  );
  const exported = (name: string) =>
    readAdapter(join(folder.path, name), {
      base: { parameters: base.model.parameters, targets: base.model.targets },
      warn: () => {},
    });
  const loaded = await logitsOf(base, [await exported('export_supertuning_phase1')], feeds, backend);
  logits('logits/export_supertuning_phase1_in_peft', loaded, 'logits/phase1_end');
  await compareExport(checks, join(folder.path, 'export_supertuning_phase1'), unmasked);

  const second = { ...first, start: await pruned(first, middle) };
  const s1 = masksIn(second);
  compareMasks(checks, 'S1', expected, s1);
  for (const [name, importance] of Object.entries(importances))
    compareMasks(checks, `S1_${name}`, expected, masksIn({ start: await pruned(by(first, importance), middle) }));

  logits('logits/masked_start', await trainedLogits(second, second.start.train, feeds, backend));
  // The case's gradients lie on top of those of the update before, which nothing had cleared there.
  const fresh = await slopesAt(second, second.start.train, feeds, backend);
  const left = await slopesAt(first, before, feeds, backend);
  compareAll(checks, 'grad_masked', added(fresh.gradients, left.gradients));
  const { end } = await phase(1, second);
  compareAll(checks, 'final', end);
  const adapter = await adapterOf(second, end);
  logits('logits/end', await logitsOf(base, [adapter], feeds, backend));
  for (const name of expected.keys())
    if (name.startsWith('effective/'))
      checks.tensor(name, await mergedParameter(base, [adapter], name.slice('effective/'.length)));
  const last = onMasked(await exported('export_supertuning_end'), s1);
  logits('logits/end', await logitsOf(base, [last], feeds, backend));
  checks.done();
}
