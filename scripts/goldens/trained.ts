import {
  type Adapter,
  attachMethod,
  type Backend,
  type Bound,
  bindMethod,
  type Clock,
  createOps,
  expandAll,
  gradients,
  methodInputs,
  type Optimizer,
  type Plan,
  type Start,
  startTensors,
  type Tensor,
  toAdapter,
} from '@peftjs/core';
import { type Laid, layPhase } from '../../packages/core/src/train/lay.js';
import { resolveOptions } from '../../packages/core/src/train/options.js';
import { accumulatorName } from '../../packages/core/src/train/step-graph.js';
import { streamsOf } from '../../packages/core/src/train/streams.js';
import { type Base, only } from './base.js';
import { runOf, type TorchOptimizer } from './optimizers.js';

type Feeds = Readonly<Record<string, Tensor>>;
type Named = ReadonlyMap<string, Tensor>;

/** How a case trains, in the words of `train`. */
export interface Recipe {
  readonly lr: number;
  readonly steps: number;
  readonly optimizer: Optimizer;
  readonly weightDecay?: number;
  readonly maxGradNorm?: number;
  /** Factor on every rate at update t, from 0. Default: 1. */
  schedule?(t: number): number;
}

/** A method on the base of a case, with the tensors that the case begins at. */
export interface Trained {
  readonly base: Base;
  readonly bound: Bound;
  readonly plan: Plan;
  readonly start: Start;
}

/**
 * Lays a method out on the base and puts given start values in the place of its own.
 * @param given by graph name; what is missing keeps the method's own start
 */
export async function planned(base: Base, bound: Bound, given: Named): Promise<Trained> {
  const { targets, parameters } = base.model;
  const plan = bindMethod(bound, { targets, parameters });
  const own = await startTensors(plan, { seed: 0, parameters });
  const put = (tensors: Named) => new Map([...tensors].map(([name, tensor]) => [name, given.get(name) ?? tensor]));
  return { base, bound, plan, start: { train: put(own.train), frozen: put(own.frozen), held: put(own.held) } };
}

/** Update t (from 1) of a run of one phase. */
const clockAt = (step: number, total: number): Clock => ({ step, total, phase: 0, phaseStep: step, phaseTotal: total });

const layOut = ({ base, bound, plan, start }: Trained, recipe: Recipe, backend: Backend): Laid => {
  const { schedule: _, ...options } = recipe;
  return layPhase(base.model, plan, start, resolveOptions({ ...options, method: bound, data: [], backend }));
};

/** What a graph of the method is fed beside the batch. */
const feedsAt = ({ plan, start }: Trained, train: Named, clock: Clock): Feeds => ({
  ...methodInputs(plan, start.held, clock),
  ...Object.fromEntries(train),
  ...(plan.method.stream && Object.fromEntries(expandAll(plan, { ...start, train }))),
});

/** Loss, penalty and the gradient of their sum by every trained tensor, at given values. */
export async function slopesAt(trained: Trained, train: Named, feeds: Feeds, backend: Backend) {
  const { base, plan, start } = trained;
  const attached = attachMethod(base.model.graph('train'), plan, start, { training: true });
  const { graph, loss } = attached.model as ReturnType<Base['model']['graph']>;
  graph.outputs.length = 0;
  const ops = createOps(graph);
  const { penalty, wrt } = attached;
  const total = penalty ? ops.add(loss!, penalty) : loss!;
  const names = wrt.map(({ name }) => accumulatorName(name));
  ops.output(loss!, '= loss');
  ops.output(total, '= total');
  for (const [i, g] of gradients(graph, total, wrt).entries()) ops.output(g, names[i]!);
  const program = await backend.compile(graph);
  const inputs = feedsAt(trained, train, clockAt(1, 1));
  const outputs = await program.run({ ...only(feeds, graph.inputs), ...only(inputs, graph.inputs) });
  await program.dispose();
  const streams = streamsOf(plan, start);
  const slopes = streams ? { ...outputs, ...streams.pullBack(Object.fromEntries(train), outputs) } : outputs;
  return {
    loss: Number(outputs['= loss']!.data[0]),
    total: Number(outputs['= total']!.data[0]),
    gradients: new Map([...train.keys()].map((name) => [name, slopes[accumulatorName(name)]!])),
  };
}

/** What one update saw and left. */
export interface Step {
  readonly loss: number;
  /** Of the loss and the method's own term. */
  readonly total: number;
  /** After the update. */
  readonly train: Named;
}

/** The updates of a recipe, all on the same batch. */
export async function* stepsOf(trained: Trained, recipe: Recipe, feeds: Feeds, backend: Backend): AsyncGenerator<Step> {
  const { plan, start } = trained;
  const { steps, attached } = layOut(trained, recipe, backend);
  const names = attached.trainables.map(({ name }) => name);
  const stepper = await steps.compile(backend);
  try {
    await stepper.write(new Map([...start.train, ...steps.state]));
    for (let t = 0; t < recipe.steps; t++) {
      const clock = clockAt(t + 1, recipe.steps);
      const inputs = methodInputs(plan, start.held, clock);
      const { loss, penalty = 0 } = await stepper.update([() => feeds], {
        step: t + 1,
        factor: recipe.schedule?.(t) ?? 1,
        inputs,
      });
      yield { loss, total: loss + penalty, train: await stepper.read(names) };
    }
  } finally {
    await stepper.dispose();
  }
}

/** Trained tensors as an adapter. */
export const adapterOf = ({ plan, start, base }: Trained, train: Named): Promise<Adapter> =>
  toAdapter(plan, { ...start, train }, { parameters: base.model.parameters });

/** Logits of the base with the method in it, as training computes them. */
export async function trainedLogits(trained: Trained, train: Named, feeds: Feeds, backend: Backend): Promise<Tensor> {
  const { base, plan, start } = trained;
  const { model } = attachMethod(base.model.graph('predict'), plan, start, { training: false });
  const { logits } = model.outputs;
  const program = await backend.compile(model.graph, { outputs: [logits!.name] });
  const inputs = { ...feeds, ...feedsAt(trained, train, clockAt(1, 1)) };
  const outputs = await program.run(only(inputs, model.graph.inputs));
  await program.dispose();
  return outputs[logits!.name]!;
}

/** All updates of a case's optimizer at a constant rate: the loss before each and after the last, and what it left. */
export async function trainedOut(
  trained: Trained,
  optimizer: TorchOptimizer & { readonly steps: number },
  feeds: Feeds,
  backend: Backend,
): Promise<{ readonly losses: readonly number[]; readonly end: Named }> {
  const recipe = { ...runOf(optimizer), steps: optimizer.steps };
  const losses: number[] = [];
  let end = trained.start.train;
  for await (const { loss, train } of stepsOf(trained, recipe, feeds, backend)) {
    losses.push(loss);
    end = train;
  }
  losses.push((await slopesAt(trained, end, feeds, backend)).loss);
  return { losses, end };
}
