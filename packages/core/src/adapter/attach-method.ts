import type { z } from 'zod';
import { PeftError } from '../errors.js';
import type { Dim } from '../graph/dim.js';
import { promoteWeight, replaceUses, sortNodes } from '../graph/edit.js';
import type { ShapedValue } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import { elementCount } from '../tensor/dtype.js';
import { tensorRef } from '../tensor/refs.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Plan, PlannedSite } from './bind.js';
import { denseBranch, rowsOf, siteOf } from './branch.js';
import { ownConfig } from './config.js';
import type { GraphSite, Method, ModuleSite, ParameterRule, Params } from './method.js';
import { changeOutputs, type Replacement, replacement } from './outputs.js';
import { splitPath } from './patterns.js';
import { lettersOf, type Start, sharedPath, type Tensors, tensorName } from './start.js';
import type { ModelGraph, Site, Target } from './target.js';

/** A tensor to train: a graph input, how the optimizer treats it, and what changes its gradient first. */
export interface Trainable {
  readonly name: string;
  readonly value: ShapedValue;
  readonly shape: readonly number[];
  readonly rule: ParameterRule;
  /** The target it belongs to; undefined for shared tensors and parameters trained in full. */
  readonly path?: string;
  /** The target's tensors by letter, for the optimizer. */
  readonly beside?: Params<ShapedValue>;
  /** To be emitted into the graph that the tensor was attached to. */
  precondition?(g: ShapedValue, ops: Ops): ShapedValue;
  prox?(next: ShapedValue, rate: ShapedValue, ops: Ops): ShapedValue;
}

/** A mask that the loop makes for every run: u8 [rows, width], 1 keeps. */
export interface DropoutInput {
  readonly name: string;
  readonly rows: Dim;
  readonly width: number;
  readonly p: number;
}

export interface Attached<M extends ModelGraph = ModelGraph> {
  readonly model: M;
  readonly trainables: readonly Trainable[];
  /** What is differentiated: the trainables' values, or what is streamed in their place. */
  readonly wrt: readonly ShapedValue[];
  readonly dropout: readonly DropoutInput[];
  /** [] */
  readonly penalty?: ShapedValue;
  /** The changed weight of every target, by path: what `observe` sees the gradient of. */
  readonly weights: ReadonlyMap<string, ShapedValue>;
  /** The targets as the method sees them in this graph, by path. */
  readonly sites: ReadonlyMap<string, GraphSite<unknown>>;
  /** What a user should hear once, e.g. that a slow path is taken. */
  readonly notes: readonly string[];
}

/** Graph input of one of a method's `scalars`. */
export const methodScalar = (name: string): string => `method:${name}`;

/**
 * Puts a planned method into a graph: trained and held tensors become inputs `${path}:${letter}`, frozen ones weights of
 * that name, parameters trained in full inputs of their own name. The graph is changed in place.
 * @param start shapes and names of the tensors, and the numbers of the frozen ones
 * @param options.origin parameters trained in full as the run found them, where `start` is that of a later phase
 * @throws PeftError GRAPH_INVALID when the graph has none of the plan's targets
 */
export function attachMethod<M extends ModelGraph, Schema extends z.ZodType>(
  model: M,
  plan: Plan<Schema>,
  start: Start,
  options: { readonly training: boolean; readonly origin?: Tensors },
): Attached<M> {
  type C = z.output<Schema>;
  const ops = createOps(model.graph);
  const { method } = plan;
  const s = declareScalars(plan, ops);
  const { values, streamed } = declareTensors(plan, start, ops);
  const all: { planned: PlannedSite<C>; site: GraphSite<C> }[] = [];
  for (const planned of plan.sites) {
    const { target, c } = planned;
    const p = lettersOf(target.path, values);
    if (Object.keys(p).length > 0) all.push({ planned, site: { target, c, p, s } });
  }

  const weights = changeWeights(method, all, ops);
  const dropout: DropoutInput[] = [];
  const changes = new Map<string, (y: ShapedValue) => ShapedValue>();
  if (method.delta || method.apply || method.rewrite)
    for (const { site } of all) {
      const own = siteOf(model, site.target.path);
      // Built when the outputs are changed, in the scope of the target.
      changes.set(site.target.path, (y) => {
        const p = options.training ? plan.config.dropout : 0;
        const module = { ...site, ...entering(own, p, dropout, ops), y, parameters: weights.parameters(site.target) };
        return leaving(method, module, own, ops);
      });
    }
  const changed = changes.size > 0 ? changeOutputs(model, changes, ops) : model;

  const trainables = trainablesOf(method, plan, start, all, values, s);
  const own = streamed ?? trainables.map(({ value }) => value);
  for (const path of plan.replaced) {
    const known = model.graph.values.get(path);
    if (!known || !model.graph.weights.has(path)) continue; // takes no part in this form of the model
    const value = promoteWeight(model.graph, path) as ShapedValue;
    const { shape } = start.train.get(path)!;
    trainables.push({ name: path, value, shape, rule: ruleOfReplaced(plan, path, shape) });
  }
  const full = trainables.filter(({ name }) => plan.replaced.includes(name));
  const origin = options.origin ?? start.train;
  const penalty = options.training
    ? method.penalty?.(
        {
          sites: all.map(({ site }) => ({ ...site, parameters: weights.base(site.target) })),
          replaced: full.map(({ name, value }) => ({ value, start: origin.get(name)! })),
          parameters: plan.parameters,
          c: ownConfig(plan.config) as C,
        },
        ops,
      )
    : undefined;
  sortNodes(model.graph);
  return {
    model: changed,
    trainables,
    wrt: [...own, ...full.map(({ value }) => value)],
    dropout,
    ...(penalty && { penalty }),
    weights: new Map(
      all.flatMap(({ site }) => {
        const { weight } = weights.parameters(site.target);
        return weight ? [[site.target.path, weight] as const] : [];
      }),
    ),
    sites: new Map(all.map(({ site }) => [site.target.path, site])),
    notes:
      method.delta && !method.apply
        ? [`${method.name} has no fast path: ΔW is formed for every target at every step.`]
        : [],
  };
}

function declareScalars<Schema extends z.ZodType>({ method, config }: Plan<Schema>, ops: Ops): Params<ShapedValue> {
  const first = { step: 1, total: 1, phase: 0, phaseStep: 1, phaseTotal: 1 };
  const numbers = method.scalars?.(first, ownConfig(config) as z.output<Schema>) ?? {};
  return Object.fromEntries(Object.keys(numbers).map((name) => [name, ops.input(methodScalar(name), 'f32', [])]));
}

/** The method's tensors in the graph by name, and those that are streamed in place of the trained ones. */
function declareTensors(plan: Plan, start: Start, ops: Ops) {
  const values = new Map<string, ShapedValue>();
  for (const [name, tensor] of start.frozen) values.set(name, ops.weight(name, tensorRef(tensor)));
  const inputs = (tensors: Iterable<readonly [string, Tensor]>): ShapedValue[] =>
    [...tensors]
      .filter(([name]) => name.includes(':'))
      .map(([name, { dtype, shape }]) => {
        const value = ops.input(name, dtype, shape);
        values.set(name, value);
        return value;
      });
  inputs(start.held);
  inputs(start.train);
  return { values, streamed: plan.method.stream && inputs(expandAll(plan, start)) };
}

/** What a streaming method's tensors are in the graph, by name. */
export function expandAll(plan: Plan, start: Start): Map<string, Tensor> {
  const expanded = new Map<string, Tensor>();
  const all = [...start.frozen, ...start.held, ...start.train];
  for (const { target, c } of plan.sites)
    for (const [letter, tensor] of Object.entries(
      plan.method.stream!.expand({ target, c, p: lettersOf(target.path, all) }),
    ))
      expanded.set(tensorName(target.path, letter), tensor);
  return expanded;
}

/** Puts what the method makes of the modules' own parameters in their place. */
function changeWeights<Schema extends z.ZodType>(
  method: Method<Schema>,
  all: readonly { readonly site: GraphSite<z.output<Schema>> }[],
  ops: Ops,
) {
  const { graph } = ops;
  const base = new Map<string, Record<string, ShapedValue>>();
  const done: Replacement[] = [];
  const now = new Map<ShapedValue, ShapedValue>();
  for (const { site } of all) {
    const { path, parameters } = site.target;
    const own: Record<string, ShapedValue> = {};
    for (const name of Object.keys(parameters)) {
      const W = graph.values.get(`${path}.${name}`) as ShapedValue | undefined;
      if (W) own[name] = W;
    }
    base.set(path, own);
    if (!method.weight) continue;
    for (const [name, W] of Object.entries(own)) {
      const made = ops.scope(path, () => replacement(W, ops, () => method.weight!({ ...site, W, name }, ops)));
      if (!made) continue;
      done.push(made);
      now.set(W, made.to);
    }
  }
  for (const { from, to, except } of done) replaceUses(graph, from, to, { except });
  if (done.length > 0) sortNodes(graph);
  return {
    /** The base's own parameters of a module that take part in this form of the model. */
    base: ({ path }: Target): Params<ShapedValue> => base.get(path)!,
    /** The same as the method has changed them. */
    parameters: ({ path }: Target): Params<ShapedValue> =>
      Object.fromEntries(Object.entries(base.get(path)!).map(([name, W]) => [name, now.get(W) ?? W])),
  };
}

/** What enters a site, with dropout. Ids cannot be dropped: PEFT and loralib leave embeddings without dropout too. */
function entering(site: Site, p: number, list: DropoutInput[], ops: Ops) {
  const x = rowsOf(site, ops);
  const dropped = p > 0 && site.target.kind !== 'embedding';
  return { x: dropped ? drop(x, site, p, list, ops) : x, dropped };
}

/** What leaves a site: [rows, out]. */
function leaving<Schema extends z.ZodType>(
  method: Method<Schema>,
  module: ModuleSite<z.output<Schema>>,
  site: Site,
  ops: Ops,
): ShapedValue {
  const { target, x, y } = module;
  if (target.kind === 'vector' || target.kind === 'block')
    throw new PeftError(
      'MODEL_UNSUPPORTED',
      `"${target.path}" is a ${target.kind}: an added matrix has no meaning there.`,
    );
  let sum = y;
  if (method.apply) sum = ops.add(y, method.apply(module, ops));
  else if (method.delta) sum = ops.add(y, denseBranch(site, x, method.delta(module, ops), ops));
  return method.rewrite ? method.rewrite({ ...module, y: sum }, ops) : sum;
}

/** Lists the tensors of the method that are trained. */
function trainablesOf<Schema extends z.ZodType>(
  method: Method<Schema>,
  plan: Plan<Schema>,
  start: Start,
  all: readonly { readonly site: GraphSite<z.output<Schema>> }[],
  values: ReadonlyMap<string, ShapedValue>,
  s: Params<ShapedValue>,
): Trainable[] {
  const bySite = new Map(all.map(({ site }) => [site.target.path, site]));
  const common: GraphSite<z.output<Schema>> = {
    target: { kind: 'block', path: sharedPath, in: 0, out: 0, parameters: {} },
    c: ownConfig(plan.config) as z.output<Schema>,
    p: lettersOf(sharedPath, values),
    s,
  };
  const trainables: Trainable[] = [];
  for (const [name, { shape }] of start.train) {
    const colon = name.lastIndexOf(':');
    if (colon < 0) continue;
    const path = name.slice(0, colon);
    const letter = name.slice(colon + 1);
    const site = path === sharedPath ? common : bySite.get(path);
    if (!site) continue;
    trainables.push({
      name,
      value: values.get(name)!,
      shape,
      rule: method.rule?.({ target: site.target, name: letter, shape }, site.c) ?? {},
      ...(path !== sharedPath && { path }),
      beside: site.p,
      ...(method.precondition && {
        precondition: (g: ShapedValue, ops: Ops) => method.precondition!({ ...site, name: letter, g }, ops),
      }),
      ...(method.prox && {
        prox: (next: ShapedValue, rate: ShapedValue, ops: Ops) =>
          method.prox!({ ...site, name: letter, next, rate }, ops),
      }),
    });
  }
  return trainables;
}

/** Inverted dropout with a mask from outside: x · mask / (1 - p). */
function drop(x: ShapedValue, { target }: Site, p: number, list: DropoutInput[], ops: Ops): ShapedValue {
  const [rows, width] = x.shape as readonly [Dim, number];
  const mask = ops.input(tensorName(target.path, 'dropout'), 'u8', [rows, width]);
  list.push({ name: mask.name, rows, width, p });
  return ops.mul(ops.mul(x, ops.cast(mask, x.dtype)), 1 / (1 - p));
}

/** The method's rule for a parameter trained in full, seen as a tensor of the module it belongs to. */
function ruleOfReplaced<Schema extends z.ZodType>(
  plan: Plan<Schema>,
  path: string,
  shape: readonly number[],
): ParameterRule {
  const [module, name] = splitPath(path);
  const own = plan.sites.find(({ target }) => target.path === module);
  const size = elementCount(shape);
  const target: Target = own?.target ?? { kind: 'vector', path: module, in: size, out: size, parameters: {} };
  const c = own?.c ?? (plan.sites[0]!.c as z.output<Schema>);
  return plan.method.rule?.({ target, name, shape }, c) ?? {};
}
