import { join } from 'node:path';
import { createOps, gradients, type Tensor, tensor } from '@peftjs/core';
import {
  type Adapted,
  adapt,
  adapterOf,
  attachTraining,
  type CaseOptimizer,
  fileTensors,
  logitsOf,
  mergedParameter,
  openAdapter,
  stepsOf,
} from '../adapted.js';
import { feedsOf, masked, only, openBase } from '../base.js';
import type { CaseFolder, CaseRecord, RunContext } from '../case.js';
import { type Checks, createChecks } from '../checks.js';

interface PeftRecord extends CaseRecord {
  readonly optimizer: CaseOptimizer;
}

type Feeds = Readonly<Record<string, Tensor>>;

/** Loss and gradients of every trainable at given values, by the names of the adapter's file. */
async function lossAndGradients(
  adapted: Adapted,
  values: ReadonlyMap<string, Tensor>,
  feeds: Feeds,
  { backend }: RunContext,
) {
  const { attached, training } = attachTraining(adapted);
  const { graph, loss, trainables } = training;
  const ops = createOps(graph);
  const slopes = gradients(
    graph,
    loss,
    trainables.map(({ value }) => value),
  );
  const names = trainables.map(({ name }) => name);
  for (const [i, g] of slopes.entries()) ops.output(g, `d ${names[i]}`);
  const program = await backend.compile(graph, { outputs: ['loss', ...names.map((name) => `d ${name}`)] });
  const parameters = Object.fromEntries(attached.trainables.map(({ name }) => [name, values.get(name)!]));
  const outputs = await program.run({ ...only(feeds, graph.inputs), ...parameters });
  await program.dispose();
  const slope = new Map(names.map((name) => [name, outputs[`d ${name}`]!]));
  return { loss: outputs.loss!, gradients: await fileTensors(await adapterOf(adapted, slope), adapted.plan) };
}

/** All updates on the same batch. */
async function trainSteps(adapted: Adapted, optimizer: CaseOptimizer, feeds: Feeds, { backend }: RunContext) {
  const { steps, attached } = stepsOf(adapted, optimizer);
  const stepper = await steps.compile(backend);
  await stepper.write(new Map([...adapted.start.train, ...steps.state]));
  const losses: number[] = [];
  const norms: number[] = [];
  for (let step = 1; step <= optimizer.steps; step++) {
    const { loss, gradNorm } = await stepper.update([feeds], { step, factor: 1 });
    losses.push(loss);
    if (gradNorm !== undefined) norms.push(gradNorm);
  }
  const trained = await stepper.read(attached.trainables.map(({ name }) => name));
  await stepper.dispose();
  return { losses, norms, trained };
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
  checkFile(folder, checks, 'grad/', start.gradients);
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
