import type * as z from 'zod';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { elementCount } from '../tensor/dtype.js';
import type { Plan } from './bind.js';
import { ownConfig } from './config.js';
import type { GraphSite, ParameterRule, Params } from './method.js';
import { sharedPath } from './names.js';
import { splitPath } from './patterns.js';
import { lettersOf, type Start } from './start.js';
import type { Target } from './target.js';

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

/** Lists the tensors of the method that are trained. */
export function trainablesOf<Schema extends z.ZodType>(
  plan: Plan<Schema>,
  start: Start,
  all: readonly { readonly site: GraphSite<z.output<Schema>> }[],
  values: ReadonlyMap<string, ShapedValue>,
  s: Params<ShapedValue>,
): Trainable[] {
  const { method } = plan;
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

/** The method's rule for a parameter trained in full, seen as a tensor of the module it belongs to. */
export function ruleOfReplaced<Schema extends z.ZodType>(
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
