import type { Trainable } from '../adapter/attach-method.js';
import { createGraph } from '../graph/graph.js';
import { createOps } from '../graph/ops.js';
import { elementCount } from '../tensor/dtype.js';
import { fusedSteps } from './fused.js';
import { separateSteps } from './separate.js';
import type { StepOptions, TrainingGraph } from './step-graph.js';
import type { StepPlan } from './stepper.js';

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

/** Chooses how updates run: as one program, or gradients and update apart. Changes `training.graph`. */
export function planSteps(
  training: TrainingGraph,
  options: StepOptions & { readonly gradAccumulation: number },
  fused = largestFused,
): StepPlan {
  const divisible = options.optimizer.elementwise && !training.trainables.some(preconditions);
  const sliced = divisible && countOf(training) > fused;
  return options.gradAccumulation > 1 || sliced
    ? separateSteps(training, { ...options, sliced })
    : fusedSteps(training, options);
}
