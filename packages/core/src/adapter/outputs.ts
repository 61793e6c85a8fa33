import { replaceUses, sortNodes } from '../graph/edit.js';
import type { Node, ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { siteOf } from './branch.js';
import type { ModelGraph } from './target.js';

/** A value put in place of another, and the nodes that still read the old one. */
export interface Replacement {
  readonly from: ShapedValue;
  readonly to: ShapedValue;
  readonly except: readonly Node[];
}

/** Builds a value from another; the nodes that this takes go on reading the old one. Undefined when nothing changes. */
export function replacement(from: ShapedValue, ops: Ops, build: () => ShapedValue): Replacement | undefined {
  const before = ops.graph.nodes.length;
  const to = build();
  return to === from ? undefined : { from, to, except: ops.graph.nodes.slice(before) };
}

/**
 * Puts what `changes` makes of the outputs of sites in their place, and gives the model in which everything (other
 * sites' inputs, named outputs, the changes of other sites) reads the new values. The graph is changed in place; use the
 * returned model from here on.
 */
export function changeOutputs<M extends ModelGraph>(
  model: M,
  changes: ReadonlyMap<string, (y: ShapedValue) => ShapedValue>,
  ops: Ops,
): M {
  const done: Replacement[] = [];
  for (const [path, change] of changes) {
    const { y } = siteOf(model, path);
    const made = ops.scope(path, () => replacement(y, ops, () => change(y)));
    if (made) done.push(made);
  }
  // After all of them are built: one may read another site's output.
  for (const { from, to, except } of done) replaceUses(model.graph, from, to, { except });
  sortNodes(model.graph);
  const moved = new Map(done.map(({ from, to }) => [from, to]));
  const now = (value: ShapedValue): ShapedValue => moved.get(value) ?? value;
  const sites = new Map([...model.sites].map(([path, s]) => [path, { ...s, x: now(s.x), y: now(s.y) }]));
  const outputs = Object.fromEntries(Object.entries(model.outputs).map(([name, value]) => [name, now(value)]));
  return { ...model, sites, outputs };
}
