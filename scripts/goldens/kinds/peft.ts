import { join } from 'node:path';
import { type Tensor, tensor } from '@peftjs/core';
import {
  adapt,
  adapterOf,
  type CaseOptimizer,
  fileTensors,
  logitsOf,
  mergedParameter,
  openAdapter,
} from '../adapted.js';
import { feedsOf, masked, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { type Checks, createChecks } from '../checks.js';
import { lossAndGradients, trainSteps } from '../training.js';

interface PeftRecord extends CaseRecord {
  readonly optimizer: CaseOptimizer;
}

const vector = (values: readonly number[]): Tensor => tensor('f32', [values.length], Float32Array.from(values));

/** The expected tensors under a prefix, and what is expected there. */
const under = ({ expected }: CaseFolder, prefix: string): string[] =>
  [...expected.keys()].flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));

/** Compares what an adapter's file holds; a file may carry frozen tensors beside those that are expected. */
function checkFile(folder: CaseFolder, checks: Checks, prefix: string, tensors: ReadonlyMap<string, Tensor>): void {
  for (const key of under(folder, prefix)) checks.tensor(`${prefix}${key}`, tensors.get(key));
}

/** A PEFT adapter: what it makes of the base, its gradients, its training, and merging it, before and after. */
export async function run(folder: CaseFolder, context: RunContext): Promise<void> {
  const { optimizer } = folder.record as PeftRecord;
  const base = await openBase(folder);
  const adapter = await openAdapter(base, join(folder.path, 'adapter_start'));
  const adapted = await adapt(base, adapter, optimizer);
  const checks = createChecks(folder);
  const feeds = feedsOf(base, folder.inputs);
  const mask = folder.inputs.get('attention_mask');
  const logits = async (name: string, adapters: readonly (typeof adapter)[]) => {
    const got = await logitsOf(base, adapters, feeds, context.backend);
    checks.tensor(name, masked(got, folder.expected.get(name)!, mask));
  };

  await logits('logits/base', []);
  await logits('logits/start', [adapter]);
  const start = await lossAndGradients(adapted, adapted.start.train, feeds, context);
  checks.tensor('loss/start', start.loss);
  const slopes = await adapterOf(adapted, start.gradients);
  checkFile(folder, checks, 'grad/', await fileTensors(slopes, adapted.plan));
  for (const path of under(folder, 'merged_start/')) {
    checks.tensor(`merged_start/${path}`, await mergedParameter(base, [adapter], path));
  }

  const { losses, norms, trained } = await trainSteps(adapted, optimizer, feeds, context);
  const end = await lossAndGradients(adapted, new Map([...adapted.start.train, ...trained]), feeds, context);
  checks.tensor('loss/steps', vector([...losses, Number(end.loss.data[0])]));
  if (norms.length > 0) checks.tensor('grad_norm/steps', vector(norms));
  const final = await adapterOf(adapted, trained);
  checkFile(folder, checks, 'final/', await fileTensors(final, adapted.plan));
  await logits('logits/end', [final]);
  for (const path of under(folder, 'merged/'))
    checks.tensor(`merged/${path}`, await mergedParameter(base, [final], path));
  checks.done();
}
