import type { Trainable } from '../adapter/trainables.js';
import { createGraph } from '../graph/graph.js';
import { createOps } from '../graph/ops.js';
import { elementCount } from '../tensor/dtype.js';
import { alternatingSteps } from './alternate.js';
import { type ForwardParts, forwardSteps } from './forward.js';
import { fusedSteps } from './fused.js';
import { separateSteps } from './separate.js';
import type { StepOptions, TrainingGraph } from './step-graph.js';
import type { StepPlan } from './stepper.js';
import type { Streams } from './streams.js';

/**
 * Trainables up to which the optimizer is part of the step's program. Above, states returned as outputs cost more time
 * and memory than updating them in slices.
 */
const largestFused = 2_000_000;

const countOf = ({ trainables }: TrainingGraph): number =>
  trainables.reduce((n, { shape }) => n + elementCount(shape), 0);

/** Whether the method changes this tensor's gradient: tried on a graph that is thrown away. */
function preconditions({ shape, precondition }: Trainable): boolean {
  const ops = createOps(createGraph('trial'));
  const g = ops.input('g', 'f32', shape);
  return precondition !== undefined && precondition(g, ops) !== g;
}

export interface StepsOptions extends StepOptions {
  readonly gradAccumulation: number;
  /** Trained tensors that a graph sees as others made from them. */
  readonly stream?: Streams;
  /** Set for a method that needs no gradient graph. */
  readonly forward?: ForwardParts;
  /** The training graph again, with what the method observes at some steps. */
  readonly observing?: TrainingGraph;
}

/** Chooses how updates run: as one program, or gradients and update apart. Changes `training.graph`. */
export function planSteps(training: TrainingGraph, options: StepsOptions, fused = largestFused): StepPlan {
  const { groups, gradAccumulation, selective, stream, forward, observing } = options;
  const divisible =
    groups.every(({ optimizer }) => optimizer.elementwise) &&
    !selective &&
    !training.trainables.some((trainable) => trainable.prox || preconditions(trainable));
  const sliced = divisible && countOf(training) > fused;
  if (forward) return forwardSteps(training, { ...options, sliced }, forward);
  const one = (graph: TrainingGraph): StepPlan =>
    gradAccumulation > 1 || sliced || stream
      ? separateSteps(graph, { ...options, sliced })
      : fusedSteps(graph, options);
  return observing ? alternatingSteps(one(training), one(observing)) : one(training);
}
