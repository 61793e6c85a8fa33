import type * as z from 'zod';
import { replaceUses, sortNodes } from '../graph/edit.js';
import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { Move } from './branch.js';
import type { Method } from './method.js';
import { replacement } from './outputs.js';
import type { GraphSite, Params } from './site.js';
import type { Target } from './target.js';

/** Puts what the method makes of the modules' own parameters in their place. */
export function changeWeights<Schema extends z.ZodType>(
  method: Method<Schema>,
  all: readonly { readonly site: GraphSite<z.output<Schema>> }[],
  ops: Ops,
) {
  const { graph } = ops;
  const base = new Map<string, Record<string, ShapedValue>>();
  const done = new Map<ShapedValue, Move>();
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
      if (made) done.set(W, made);
    }
  }
  for (const [W, { to, nodes }] of done) replaceUses(graph, W, to, { except: nodes });
  if (done.size > 0) sortNodes(graph);
  return {
    /** The base's own parameters of a module that take part in this form of the model. */
    base: ({ path }: Target): Params<ShapedValue> => base.get(path)!,
    /** The same as the method has changed them. */
    parameters: ({ path }: Target): Params<ShapedValue> =>
      Object.fromEntries(Object.entries(base.get(path)!).map(([name, W]) => [name, done.get(W)?.to ?? W])),
  };
}
