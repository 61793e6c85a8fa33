import { type Attached, attachMethod } from '../adapter/attach-method.js';
import type { Plan } from '../adapter/bind.js';
import { tensorName } from '../adapter/names.js';
import type { GraphSite } from '../adapter/site.js';
import type { Start, Tensors } from '../adapter/start.js';
import { PeftError } from '../errors.js';
import { groupsOf } from './groups.js';
import type { Example, TaskModel } from './model.js';
import type { ResolvedTrainOptions } from './options.js';
import { planSteps } from './plan.js';
import type { Observation, TrainingGraph } from './step-graph.js';
import type { StepPlan } from './stepper.js';
import { type Streams, streamsOf } from './streams.js';

/** One phase of a run, ready to be compiled. */
export interface Laid {
  readonly start: Start;
  readonly attached: Attached;
  readonly steps: StepPlan;
  readonly streams?: Streams;
}

/**
 * The training graph with the method in it, as it begins at `start`.
 * @param origin trained tensors at the start of the run
 */
export function layPhase<E extends Example>(
  model: TaskModel<E>,
  plan: Plan,
  start: Start,
  o: ResolvedTrainOptions,
  origin: Tensors = start.train,
): Laid {
  const { active, forward, observe } = plan.method;
  const bare = attach(model, plan, start, origin);
  const { attached } = bare;
  const training = observe && !observe.at ? observing(bare, plan) : bare.training;
  const { groups, of } = groupsOf(
    attached.trainables.map(({ rule }) => rule),
    o,
  );
  const stream = streamsOf(plan, start);
  const steps = planSteps(training, {
    groups,
    groupOf: of,
    ...(o.maxGradNorm !== undefined && { maxGradNorm: o.maxGradNorm }),
    gradAccumulation: o.gradAccumulation,
    ...(active && { selective: true }),
    ...(stream && { stream }),
    ...(forward && { forward: { plan, start, seed: o.seed } }),
    ...(observe?.at && { observing: observing(attach(model, plan, start, origin), plan) }),
  });
  return { start, attached, steps, ...(stream && { streams: stream }) };
}

function attach<E extends Example>(model: TaskModel<E>, plan: Plan, start: Start, origin: Tensors) {
  const attached = attachMethod(model.graph('train'), plan, start, { training: true, origin });
  const { graph, loss } = attached.model;
  if (!loss) throw new PeftError('INTERNAL', `The training graph of "${model.name}" has no loss.`);
  const { trainables, wrt, penalty } = attached;
  const training: TrainingGraph = { graph, loss, trainables, wrt, ...(penalty && { penalty }) };
  return { attached, training };
}

/** The training graph with the outputs that the method observes. */
function observing({ attached, training }: ReturnType<typeof attach>, { method }: Plan): TrainingGraph {
  const seen = [...attached.sites].flatMap(([path, site]) => {
    const W = attached.weights.get(path);
    return W ? [{ path, site: site as GraphSite<never>, W }] : [];
  });
  const observe: Observation = {
    of: seen.map(({ W }) => W),
    values: (slopes, ops) =>
      Object.fromEntries(
        seen.flatMap(({ path, site, W }, i) => {
          const values = ops.scope(path, () => method.observe!.values({ ...site, W, dW: slopes[i]! }, ops));
          return Object.entries(values).map(([letter, value]) => [tensorName(path, letter), value] as const);
        }),
      ),
  };
  return { ...training, observe };
}
