import { createOps, gradients, type Tensor } from '@peftjs/core';
import { type Adapted, attachTraining, type CaseOptimizer, stepsOf } from './adapted.js';
import { only } from './base.js';
import type { RunContext } from './case.js';

type Feeds = Readonly<Record<string, Tensor>>;

/** Loss and gradients of every trainable at given values, by the names they have in a graph. */
export async function lossAndGradients(
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
  return { loss: outputs.loss!, gradients: new Map(names.map((name) => [name, outputs[`d ${name}`]!])) };
}

/** All updates on the same batch. */
export async function trainSteps(adapted: Adapted, optimizer: CaseOptimizer, feeds: Feeds, { backend }: RunContext) {
  const { steps, attached } = stepsOf(adapted, optimizer);
  const stepper = await steps.compile(backend);
  await stepper.write(new Map([...adapted.start.train, ...steps.state]));
  const losses: number[] = [];
  const norms: number[] = [];
  for (let step = 1; step <= optimizer.steps; step++) {
    const { loss, gradNorm } = await stepper.update([() => feeds], { step, factor: 1 });
    losses.push(loss);
    if (gradNorm !== undefined) norms.push(gradNorm);
  }
  const trained = await stepper.read(attached.trainables.map(({ name }) => name));
  await stepper.dispose();
  return { losses, norms, trained };
}
