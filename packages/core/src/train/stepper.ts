import type { Backend, Feeds, Program } from '../backend/backend.js';
import { compileGraph } from '../backend/compile.js';
import type { Graph } from '../graph/graph.js';
import type { Tensor } from '../tensor/tensor.js';
import type { MicroBatch } from './batch-feeds.js';
import { observedName, penaltyName, type StepGraph } from './step-graph.js';

export interface StepResult {
  /** Mean over the labels of the whole batch, before the update. */
  readonly loss: number;
  /** Global norm of the gradient before clipping; only when the run clips. */
  readonly gradNorm?: number;
  /** The method's own term, beside the loss. */
  readonly penalty?: number;
  /** What the method observes at this step, by name. */
  readonly observed?: ReadonlyMap<string, Tensor>;
}

/** The place of an update in the run. */
export interface UpdateClock {
  /** Number of the update, from 1. */
  readonly step: number;
  /** Factor of the schedule on every rate. */
  readonly factor: number;
  /** What the method feeds at this update: held and streamed tensors, scalars, active targets. */
  readonly inputs?: Feeds;
  /** Whether the method observes this step. */
  readonly observe?: boolean;
}

/** Compiled programs that do updates; the parameters and the optimizer's state live with them. */
export interface Stepper {
  update(microBatches: readonly MicroBatch[], clock: UpdateClock): Promise<StepResult>;
  /** Present values of parameters and state tensors: copies, which later updates leave alone. */
  read(names: readonly string[]): Promise<Map<string, Tensor>>;
  /** Sets parameters and state; all of them must be set before the first update. */
  write(tensors: ReadonlyMap<string, Tensor>): Promise<void>;
  dispose(): Promise<void>;
}

/** What is to be compiled, and the optimizer's state before the first update. */
export interface StepPlan {
  readonly state: ReadonlyMap<string, Tensor>;
  compile(backend: Backend, signal?: AbortSignal): Promise<Stepper>;
}

/** The feeds that a graph has inputs for: a batch may bring more. */
export const feedsOf = ({ inputs }: Graph, feeds: Feeds): Feeds =>
  Object.fromEntries(inputs.flatMap(({ name }) => (feeds[name] ? [[name, feeds[name]]] : [])));

/** The number in a tensor of one element. */
export const numberOf = (tensor: Tensor | undefined): number => Number(tensor?.data[0]);

/** What a step returns beside its loss. */
export function resultOf(outputs: Readonly<Record<string, Tensor>>): Pick<StepResult, 'penalty' | 'observed'> {
  const penalty = outputs[penaltyName];
  const prefix = observedName('');
  const observed = Object.entries(outputs).flatMap(([name, tensor]) =>
    name.startsWith(prefix) ? [[name.slice(prefix.length), tensor] as const] : [],
  );
  return {
    ...(penalty && { penalty: numberOf(penalty) }),
    ...(observed.length > 0 && { observed: new Map(observed) }),
  };
}

export const compileStep = (
  { graph, outputs, carry }: StepGraph,
  backend: Backend,
  signal?: AbortSignal,
): Promise<Program> => compileGraph(backend, graph, { outputs, carry, purpose: 'train', ...(signal && { signal }) });

export const copyTensor = (tensor: Tensor): Tensor => ({ ...tensor, data: tensor.data.slice() });

/** Carried inputs of a program, copied. */
export async function readAll(program: Program, names: Iterable<string>): Promise<Map<string, Tensor>> {
  const read = new Map<string, Tensor>();
  for (const name of names) read.set(name, copyTensor(await program.read(name)));
  return read;
}

export async function writeAll(program: Program, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  for (const [name, tensor] of tensors) await program.write(name, tensor);
}
