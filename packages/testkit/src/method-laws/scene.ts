import {
  type Adapter,
  type Backend,
  type Bound,
  bindMethod,
  createGraph,
  createOps,
  type Layout,
  type Method,
  type MethodFunction,
  type Ops,
  type Plan,
  type PlannedSite,
  type ShapedValue,
  type Start,
  startTensors,
  type TaskModel,
  type Tensor,
  tensorName,
  toAdapter,
} from '@peftjs/core';
import type { z } from 'zod';
import type { Tolerance } from '../allclose.js';
import { tensorOf } from '../numbers.js';
import { tinyModel } from '../tiny-model.js';
import type { TinyExample } from '../tiny-task.js';

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
  const plan = bindMethod(bound, model);
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
    random: { train, frozen: start.frozen },
    tolerance: options.tolerance ?? { relToMax: 2e-6, absolute: 1e-7 },
    backend,
    adapterOf: (tensors) => toAdapter(plan, tensors, { parameters: model.parameters }),
  };
}

/** One target's tensors by letter, out of all. */
export function tensorsOf({ target }: PlannedSite, { train, frozen }: Start): Record<string, Tensor> {
  const prefix = tensorName(target.path, '');
  const own = [...frozen, ...train].filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]));
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
