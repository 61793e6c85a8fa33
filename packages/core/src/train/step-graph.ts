import type { Trainable } from '../adapter/trainables.js';
import { gradients } from '../autodiff/gradients.js';
import { createGraph, type Graph, type ShapedValue } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import { alloc } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { appendUpdate, type Carried, nextName, type UpdateOptions } from './update.js';

/** A model's graph in training form, with its method attached. */
export interface TrainingGraph {
  readonly graph: Graph;
  /** Mean over labels: []. */
  readonly loss: ShapedValue;
  readonly trainables: readonly Trainable[];
  /** What is differentiated; the trainables' values when not given. */
  readonly wrt?: readonly ShapedValue[];
  /** Added to the loss for the gradient, []. */
  readonly penalty?: ShapedValue;
  /** Extra outputs. */
  readonly observe?: Observation;
}

/** What a method wants to see of a step. */
export interface Observation {
  /** Values whose gradient it looks at. */
  readonly of: readonly ShapedValue[];
  /** Outputs by name. */
  values(slopes: readonly ShapedValue[], ops: Ops): Readonly<Record<string, ShapedValue>>;
}

export interface StepOptions extends UpdateOptions {
  /** For every trainable the number of its group. */
  readonly groupOf: readonly number[];
}

/** A graph to compile, with what a run returns and what stays with the program. */
export interface StepGraph extends Carried {
  readonly graph: Graph;
  readonly outputs: readonly string[];
}

export const lossName = 'loss';
export const penaltyName = 'penalty';
/** Scalar input of the gradient graph: 0 starts a new sum, 1 adds to the one so far. */
export const accumulateName = 'accumulate';
/** Scalar input of the gradient graph: 1 for one micro-batch of an update, 0 for the others, so that a penalty counts once. */
export const penaltyWeightName = 'penalty_weight';
export const accumulatorName = (parameter: string): string => `${parameter}:gradient`;
/** Output of what a method observes. */
export const observedName = (name: string): string => `observed.${name}`;

/** Declares the loss as the first output: other outputs of the model are not needed. */
function startOutputs({ graph, loss, penalty }: TrainingGraph, ops: Ops): void {
  graph.outputs.length = 0;
  if (loss.name === lossName) graph.outputs.push(loss);
  else ops.output(loss, lossName);
  if (penalty) ops.output(penalty, penaltyName);
}

/** Appends the gradients of `wrt` in order, and what is observed as outputs. */
function differentiate(training: TrainingGraph, ops: Ops, options: { readonly accumulate?: boolean } = {}) {
  const { graph, loss, trainables, penalty, observe } = training;
  const wrt = training.wrt ?? trainables.map(({ value }) => value);
  const counted = penalty && options.accumulate ? ops.mul(penalty, ops.input(penaltyWeightName, 'f32', [])) : penalty;
  const total = counted ? ops.add(loss, counted) : loss;
  const slopes = gradients(graph, total, [...wrt, ...(observe?.of ?? [])]);
  const seen = observe?.values(slopes.slice(wrt.length), ops) ?? {};
  for (const [name, value] of Object.entries(seen)) ops.output(value, observedName(name));
  return wrt.map((value, i) => ({ name: value.name, g: slopes[i]! }));
}

/** The outputs that a run returns: the rest is carried. */
const returned = ({ outputs }: Graph, carry: Carried['carry']) =>
  outputs.map(({ name }) => name).filter((name) => !(name in carry));

/** Loss, gradients and update in one program: a run is one update. Changes `training.graph`. */
export function fusedGraph(training: TrainingGraph, options: StepOptions): StepGraph {
  const { graph, trainables } = training;
  const ops = createOps(graph);
  startOutputs(training, ops);
  const slopes = differentiate(training, ops);
  const carried = appendUpdate(
    trainables.map((trainable, i) => ({ trainable, g: slopes[i]!.g, group: options.groupOf[i]! })),
    options,
    ops,
  );
  return { graph, outputs: returned(graph, carried.carry), ...carried };
}

/**
 * Loss and gradients. With `accumulate` a run adds the gradients of one micro-batch to the sum it carries, otherwise it
 * returns them. The losses of micro-batches add up to that of the whole batch, because `loss_weight` counts the labels
 * of all of them. Changes `training.graph`.
 */
export function gradientGraph(training: TrainingGraph, options: { readonly accumulate: boolean }): StepGraph {
  const { graph } = training;
  const ops = createOps(graph);
  startOutputs(training, ops);
  const slopes = differentiate(training, ops, options);
  const carry: Record<string, string> = {};
  const state = new Map<string, Tensor>();
  if (options.accumulate) {
    const accumulate = ops.input(accumulateName, 'f32', []);
    for (const { name, g } of slopes) {
      const sum = ops.input(accumulatorName(name), 'f32', g.shape);
      state.set(sum.name, alloc('f32', g.shape.map(Number)));
      carry[ops.output(ops.add(g, ops.mul(sum, accumulate)), nextName(sum.name)).name] = sum.name;
    }
  } else for (const { name, g } of slopes) ops.output(g, accumulatorName(name));
  return { graph, outputs: returned(graph, carry), carry, state };
}

/** The loss alone. Changes `training.graph`. */
export function lossGraph(training: TrainingGraph): StepGraph {
  const { graph } = training;
  startOutputs(training, createOps(graph));
  return { graph, outputs: returned(graph, {}), carry: {}, state: new Map() };
}

/**
 * Declares in `graph` what its nodes read of the graph `from`: constants, frozen weights and inputs. Values are shared
 * between graphs.
 */
function adopt(graph: Graph, from: Graph): void {
  for (const value of graph.nodes.flatMap((node) => node.inputs)) {
    if (!value || graph.values.has(value.name)) continue;
    const constant = from.constants.get(value.name);
    const weight = from.weights.get(value.name);
    graph.values.set(value.name, value);
    if (constant) graph.constants.set(value.name, constant);
    else if (weight) graph.weights.set(value.name, weight);
    else graph.inputs.push(value);
  }
}

/** The update alone, over gradients that are fed. Leaves the model's graph as it is. */
export function updateGraph({ graph: model, trainables }: TrainingGraph, options: StepOptions): StepGraph {
  const graph = createGraph('update');
  const ops = createOps(graph);
  const carried = appendUpdate(
    trainables.map((trainable, i) => ({
      trainable,
      g: ops.input(accumulatorName(trainable.name), 'f32', trainable.shape),
      group: options.groupOf[i]!,
    })),
    options,
    ops,
  );
  adopt(graph, model);
  return { graph, outputs: returned(graph, carried.carry), ...carried };
}
