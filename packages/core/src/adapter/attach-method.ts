import type * as z from 'zod';
import { PeftError } from '../errors.js';
import { promoteWeight, sortNodes } from '../graph/edit.js';
import type { ShapedValue } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import { tensorRef } from '../tensor/refs.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Plan } from './bind.js';
import { denseBranch, siteOf } from './branch.js';
import { changeWeights } from './change-weights.js';
import { ownConfig } from './config.js';
import { type DropoutInput, entering } from './entering.js';
import type { Method } from './method.js';
import { tensorName } from './names.js';
import { changeOutputs } from './outputs.js';
import { untie } from './own-weights.js';
import type { GraphSite, ModuleSite, Params } from './site.js';
import { lettersOf, type Start, type Tensors } from './start.js';
import type { ModelGraph, Site } from './target.js';
import { placeTokenRows, tokenRowsName } from './token-rows.js';
import { ruleOfReplaced, type Trainable, trainablesOf } from './trainables.js';

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
 * that name, parameters trained in full inputs of their own name (each in its own module alone: a tied head is untied).
 * The graph is changed in place.
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
  untie(model, new Map(plan.replaced.map((path) => [path, path])));
  const s = declareScalars(plan, ops);
  const { values, streamed } = declareTensors(plan, start, ops);
  // A target without tensors is one that a later phase left out.
  const all: { readonly site: GraphSite<C> }[] = plan.sites
    .map(({ target, c }) => ({ site: { target, c, p: lettersOf(target.path, values), s } }))
    .filter(({ site }) => Object.keys(site.p).length > 0);

  const weights = changeWeights(method, all, ops);
  const dropout: DropoutInput[] = [];
  const changes = new Map<string, (y: ShapedValue) => ShapedValue>();
  if (method.delta || method.apply || method.rewrite)
    for (const { site } of all) {
      // A norm has nothing but its parameters, which `weight` has changed.
      if (site.target.kind === 'vector' && method.weight) continue;
      const own = siteOf(model, site.target.path);
      // Built when the outputs are changed, in the scope of the target.
      changes.set(site.target.path, (y) => {
        const p = options.training ? plan.config.dropout : 0;
        const module = { ...site, ...entering(own, p, dropout, ops), y, parameters: weights.parameters(site.target) };
        return leaving(method, module, own, ops);
      });
    }
  const tokens = plan.tokens.filter(({ target }) => model.sites.has(target.path));
  for (const rows of tokens) placeTokenRows(model, rows, values.get(tokenRowsName(rows))!, changes, ops);
  const changed = changes.size > 0 ? changeOutputs(model, changes, ops) : model;

  const trainables = trainablesOf(plan, start, all, values, s);
  const own = streamed ?? trainables.map(({ value }) => value);
  const ofMethod = trainables.length;
  for (const name of tokens.map(tokenRowsName)) {
    const value = values.get(name)!;
    trainables.push({ name, value, shape: start.train.get(name)!.shape, rule: {} });
  }
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
    wrt: [...own, ...trainables.slice(ofMethod).map(({ value }) => value)],
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
