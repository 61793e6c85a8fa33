import {
  type Adapter,
  type Backend,
  type Bound,
  bindMethod,
  type Clock,
  createGraph,
  createLook,
  createOps,
  createOrder,
  expandAll,
  f32,
  type Kind,
  type Layout,
  lettersOf,
  type Method,
  type MethodFunction,
  methodInputs,
  type Ops,
  type Params,
  type Plan,
  type PlannedSite,
  type ShapedValue,
  type Start,
  settlePlan,
  startTensors,
  type TaskModel,
  type Tensor,
  type TrainOptions,
  toAdapter,
} from '@peftjs/core';
import type * as z from 'zod';
import type { Tolerance } from '../allclose.js';
import { tensorOf } from '../numbers.js';
import { tinyModel } from '../tiny-model.js';
import { type TinyExample, tinyRows } from '../tiny-task.js';

export interface TestMethodOptions {
  /** Options of the method. Default: its own defaults on every target of the tiny model that it can change. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Where it runs. Default: the float64 reference. */
  readonly backend?: () => Backend | Promise<Backend>;
  /** The method's start changes the model at once, on purpose. Default false: ΔW must be zero. */
  readonly startsChanged?: boolean;
  /** A safetensors file with the numbers of the authors' own code; see `Fixture`. */
  readonly fixture?: string | undefined;
  /** Another adapter of the tiny model to add to this method's. Default: a dense one. */
  readonly other?: Adapter;
  /** Layouts beside the built-in ones, when the method saves in its own. */
  readonly layouts?: readonly Layout[];
  /** Kinds of updates beside the built-in ones. */
  readonly kinds?: readonly Kind[];
  /** Nothing of the start is random. Default false. */
  readonly seedless?: boolean;
  /** The gradient is not that of the loss, on purpose: a part of the formula is taken for a constant. */
  readonly constantParts?: boolean;
  /** Options of the short runs, where the usual ones do not suit the method. */
  readonly training?: Partial<Pick<TrainOptions, 'lr' | 'optimizer' | 'steps'>>;
  /** For results that are computed in two ways. Default 2e-6 of the largest: a few units of float32. */
  readonly tolerance?: Tolerance;
}

/** A method laid out on the tiny model, with what the laws ask of it. */
export interface Scene {
  readonly options: TestMethodOptions;
  readonly method: Method;
  bind(config?: Readonly<Record<string, unknown>>): Bound;
  readonly bound: Bound;
  readonly model: TaskModel<TinyExample>;
  readonly plan: Plan;
  /** As the method starts, from seed 0. */
  readonly start: Start;
  /** The same tensors with random trainables: no symmetry or zero of the start hides a fault. */
  readonly random: Start;
  readonly tolerance: Tolerance;
  backend(): Promise<Backend>;
  adapterOf(tensors: Start): Promise<Adapter>;
}

/** Paths of the targets that the method accepts under a configuration; output heads are left out. */
const acceptable = (method: Method, config: Bound['config'], model: TaskModel<TinyExample>): string[] =>
  model.targets
    .filter((target) => !target.head && method.kinds.includes(target.kind))
    .filter((target) => (method.check?.(target, config) ?? []).length === 0)
    .map(({ path }) => path);

export async function openScene<Schema extends z.ZodType>(
  define: MethodFunction<Schema>,
  options: TestMethodOptions,
  backend: () => Promise<Backend>,
): Promise<Scene> {
  const make = define as unknown as (config: Readonly<Record<string, unknown>>) => Bound;
  const method = define.method as unknown as Method;
  const model = tinyModel();
  const targetModules = options.config?.targetModules ?? acceptable(method, make(options.config ?? {}).config, model);
  const bind = (config = options.config ?? {}) => make({ targetModules, ...config });
  const bound = bind();
  const plan = await settled(bindMethod(bound, model), model, await backend());
  const start = await startTensors(plan, { seed: 0, parameters: model.parameters });
  const train = new Map(
    [...start.train].map(([name, { shape }]) => [name, tensorOf('f32', shape, { from: -0.5, to: 0.5 }, name)]),
  );
  return {
    options,
    method,
    bind,
    bound,
    model,
    plan,
    start,
    random: { ...start, train },
    tolerance: options.tolerance ?? { relToMax: 2e-6, absolute: 1e-7 },
    backend,
    adapterOf: (tensors) => toAdapter(plan, tensors, { parameters: model.parameters }),
  };
}

/** Whether ΔW is added to the weight under this configuration, and nothing else is changed beside it. */
export const addsExactly = ({ method, plan }: Scene): boolean =>
  method.additive && (method.adds?.(plan.config) ?? true) && plan.tokens.length === 0;

/** The plan after the method has looked at the tiny model and its rows, or at the adapter to go on from. */
export function settled(plan: Plan, model: TaskModel<TinyExample>, backend: Backend, start?: Adapter): Promise<Plan> {
  const examples = tinyRows().map((row, i) => model.task.encode(row, i));
  const order = createOrder({ seed: 0, rows: examples.length, batchSize: 4, gradAccumulation: 1, dropLast: false });
  return settlePlan(plan, createLook({ model, plan, examples, order, backend, seed: 0, ...(start && { start }) }));
}

/** One target's tensors by letter, shared ones included. */
export const tensorsOf = ({ target }: PlannedSite, { train, frozen, held }: Start): Params<Tensor> =>
  lettersOf(target.path, [...frozen, ...held, ...train]);

/** The method's first scalars, by the names of `scalars`. */
export function firstScalars({ method, plan }: Pick<Scene, 'method' | 'plan'>): Params<Tensor> {
  const numbers = method.scalars?.(firstClock, plan.sites[0]!.c) ?? {};
  return Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, f32([], [number])]));
}

export const firstClock: Clock = { step: 1, total: 1, phase: 0, phaseStep: 1, phaseTotal: 1 };

/** What a graph of the method is fed beside the model's inputs. */
export function methodFeeds(plan: Plan, start: Start): Record<string, Tensor> {
  const streamed = plan.method.stream ? expandAll(plan, start) : [];
  return { ...methodInputs(plan, start.held, firstClock), ...Object.fromEntries([...start.train, ...streamed]) };
}

/** Runs a formula of the method over given tensors, which enter as inputs of their names. */
export async function evaluate(
  backend: Backend,
  feeds: Readonly<Record<string, Tensor>>,
  formula: (inputs: Readonly<Record<string, ShapedValue>>, ops: Ops) => Readonly<Record<string, ShapedValue>>,
): Promise<Record<string, Tensor>> {
  const graph = createGraph('formula');
  const ops = createOps(graph);
  const inputs = Object.fromEntries(
    Object.entries(feeds).map(([name, t]) => [name, ops.input(name, t.dtype, t.shape)]),
  );
  for (const [name, value] of Object.entries(formula(inputs, ops))) ops.output(value, `= ${name}`);
  const program = await backend.compile(graph);
  try {
    const results = Object.entries(await program.run(feeds));
    return Object.fromEntries(results.map(([name, value]) => [name.slice(2), value]));
  } finally {
    await program.dispose();
  }
}
