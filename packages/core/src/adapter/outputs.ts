import type { ShapedValue } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import { type Move, moveOutputs, siteOf } from './branch.js';
import type { ModelGraph } from './target.js';

/** Builds a value to stand in place of another, with the nodes that this takes. Undefined when nothing changes. */
export function replacement(from: ShapedValue, ops: Ops, build: () => ShapedValue): Move | undefined {
  const before = ops.graph.nodes.length;
  const to = build();
  return to === from ? undefined : { to, nodes: ops.graph.nodes.slice(before) };
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
  const moves = new Map<string, Move>();
  for (const [path, change] of changes) {
    const { y } = siteOf(model, path);
    const made = ops.scope(path, () => replacement(y, ops, () => change(y)));
    if (made) moves.set(path, made);
  }
  return moveOutputs(model, moves);
}
