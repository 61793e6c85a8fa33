import type { z } from 'zod';
import { PeftError } from '../errors.js';
import type { Dim } from '../graph/dim.js';
import { promoteWeight } from '../graph/edit.js';
import type { ShapedValue } from '../graph/graph.js';
import { createOps, type Ops } from '../graph/ops.js';
import { elementCount } from '../tensor/dtype.js';
import { tensorRef } from '../tensor/refs.js';
import type { Plan, PlannedSite } from './bind.js';
import { addBranches, denseBranch, rowsOf, siteOf } from './branch.js';
import type { ParameterRule, Params } from './method.js';
import { type Start, tensorName } from './start.js';
import type { ModelGraph, Site, Target } from './target.js';

/** A tensor to train: a graph input, how the optimizer treats it, and what changes its gradient first. */
export interface Trainable {
  readonly name: string;
  readonly value: ShapedValue;
  readonly shape: readonly number[];
  readonly rule: ParameterRule;
  /** To be emitted into the graph that the tensor was attached to. */
  precondition?(g: ShapedValue, ops: Ops): ShapedValue;
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
  readonly dropout: readonly DropoutInput[];
  /** What a user should hear once, e.g. that a slow path is taken. */
  readonly notes: readonly string[];
}

/**
 * Puts a planned method into a graph: trainables become inputs `${path}:${letter}`, frozen tensors weights of that name,
 * parameters trained in full inputs of their own name. The graph is changed in place.
 * @param start shapes and names of the tensors, and the numbers of the frozen ones
 * @throws PeftError GRAPH_INVALID when the graph has none of the plan's targets
 */
export function attachMethod<M extends ModelGraph, Schema extends z.ZodType>(
  model: M,
  plan: Plan<Schema>,
  start: Start,
  options: { readonly training: boolean },
): Attached<M> {
  const ops = createOps(model.graph);
  const trainables: Trainable[] = [];
  const dropout: DropoutInput[] = [];
  const branches = new Map<string, ShapedValue>();
  const p = options.training ? plan.config.dropout : 0;
  for (const planned of plan.sites) {
    const { path } = planned.target;
    const site = siteOf(model, path);
    ops.scope(path, () => {
      const tensors = declare(planned, plan, start, trainables, ops);
      let x = rowsOf(site, ops);
      // Ids cannot be dropped: PEFT and loralib leave embeddings without dropout too.
      if (p > 0 && site.target.kind !== 'embedding') x = drop(x, site, p, dropout, ops);
      branches.set(path, branchOf(planned, plan, site, x, tensors, ops));
    });
  }
  const changed = addBranches(model, branches, ops);
  for (const path of plan.replaced) {
    const known = model.graph.values.get(path);
    if (!known || !model.graph.weights.has(path)) continue; // takes no part in this form of the model
    const value = promoteWeight(model.graph, path) as ShapedValue;
    const shape = start.train.get(path)!.shape;
    trainables.push({ name: path, value, shape, rule: ruleOfReplaced(plan, path, shape) });
  }
  const slow = plan.method.apply
    ? []
    : [`${plan.method.name} has no fast path: ΔW is formed for every target at every step.`];
  return { model: changed, trainables, dropout, notes: slow };
}

/** Declares the tensors of one target and lists those that are trained. */
function declare<Schema extends z.ZodType>(
  { target, c }: PlannedSite<z.output<Schema>>,
  { method }: Plan<Schema>,
  start: Start,
  trainables: Trainable[],
  ops: Ops,
): Params<ShapedValue> {
  const prefix = tensorName(target.path, '');
  const p: Record<string, ShapedValue> = {};
  for (const [name, tensor] of start.frozen)
    if (name.startsWith(prefix)) p[name.slice(prefix.length)] = ops.weight(name, tensorRef(tensor));
  const letters: string[] = [];
  for (const [name, tensor] of start.train) {
    if (!name.startsWith(prefix)) continue;
    const letter = name.slice(prefix.length);
    p[letter] = ops.input(name, tensor.dtype, tensor.shape);
    letters.push(letter);
  }
  for (const letter of letters) {
    const value = p[letter]!;
    const shape = value.shape as readonly number[];
    trainables.push({
      name: value.name,
      value,
      shape,
      rule: method.rule?.({ target, name: letter, shape }, c) ?? {},
      ...(method.precondition && {
        precondition: (g: ShapedValue, into: Ops) => method.precondition!({ name: letter, g, p, c }, into),
      }),
    });
  }
  return p;
}

/** Inverted dropout with a mask from outside: x · mask / (1 - p). */
function drop(x: ShapedValue, { target }: Site, p: number, list: DropoutInput[], ops: Ops): ShapedValue {
  const [rows, width] = x.shape as readonly [Dim, number];
  const mask = ops.input(tensorName(target.path, 'dropout'), 'u8', [rows, width]);
  list.push({ name: mask.name, rows, width, p });
  return ops.mul(ops.mul(x, ops.cast(mask, x.dtype)), 1 / (1 - p));
}

function branchOf<Schema extends z.ZodType>(
  { target, c }: PlannedSite<z.output<Schema>>,
  { method }: Plan<Schema>,
  site: Site,
  x: ShapedValue,
  p: Params<ShapedValue>,
  ops: Ops,
): ShapedValue {
  if (target.kind === 'vector' || target.kind === 'block')
    throw new PeftError(
      'MODEL_UNSUPPORTED',
      `"${target.path}" is a ${target.kind}: an added matrix has no meaning there.`,
    );
  return method.apply
    ? method.apply({ x, p, target, c }, ops)
    : denseBranch(site, x, method.delta({ p, target, c }, ops), ops);
}

/** The method's rule for a parameter trained in full, seen as a tensor of the module it belongs to. */
function ruleOfReplaced<Schema extends z.ZodType>(
  plan: Plan<Schema>,
  path: string,
  shape: readonly number[],
): ParameterRule {
  const dot = path.lastIndexOf('.');
  const module = path.slice(0, dot);
  const own = plan.sites.find(({ target }) => target.path === module);
  const size = elementCount(shape);
  const target: Target = own?.target ?? { kind: 'vector', path: module, in: size, out: size, parameters: {} };
  const c = own?.c ?? (plan.sites[0]!.c as z.output<Schema>);
  return plan.method.rule?.({ target, name: path.slice(dot + 1), shape }, c) ?? {};
}
