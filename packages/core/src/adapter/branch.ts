import { PeftError } from '../errors.js';
import { replaceUses, sortNodes } from '../graph/edit.js';
import type { Node, ShapedValue, Value } from '../graph/graph.js';
import type { Ops } from '../graph/ops.js';
import type { ModelGraph, Site } from './target.js';

/** @throws PeftError GRAPH_INVALID when the graph has no such target */
export function siteOf(model: ModelGraph, path: string): Site {
  const site = model.sites.get(path);
  if (site) return site;
  throw new PeftError('GRAPH_INVALID', `This form of the model has no target "${path}".`, {
    details: { targets: [...model.sites.keys()] },
  });
}

/** What enters a site as rows: [rows, in], or ids [rows] for an embedding. */
export function rowsOf(site: Site, ops: Ops): ShapedValue {
  if (site.target.kind !== 'embedding') return site.x;
  return ops.reshape(site.x, [site.y.shape[0]!]);
}

/** x ΔWᵀ for ΔW (out, in): a product, or the chosen columns for the ids of an embedding. [rows, out] */
export const denseBranch = (site: Site, x: ShapedValue, w: ShapedValue, ops: Ops): ShapedValue =>
  site.target.kind === 'embedding'
    ? ops.transpose(ops.gather(w, x, 1), [1, 0])
    : ops.gemm(x, w, undefined, { transB: true });

/** The node that makes what leaves a site of its matrix or table, where that is the base's own; else undefined. */
export function readerOf({ graph }: ModelGraph, { y }: Site): { node: Node; weight: ShapedValue } | undefined {
  const producerOf = (of: Value | undefined) => graph.nodes.find(({ outputs }) => outputs.includes(of));
  let node = producerOf(y);
  while (node?.op === 'Reshape') node = producerOf(node.inputs[0]);
  const found = node?.inputs.find((value) => value && graph.weights.has(value.name) && value.shape?.length === 2);
  return node && found && { node, weight: found as ShapedValue };
}

/** What takes the place of a value, and the nodes made for it: they go on reading the old one. */
export interface Move {
  readonly to: ShapedValue;
  readonly nodes: readonly Node[];
}

/**
 * Adds branches [rows, out] to what leaves their sites, and gives the model in which everything (other sites' inputs,
 * named outputs, branches themselves) reads the sums. The graph is changed in place; use the returned model from here on.
 */
export function addBranches<M extends ModelGraph>(model: M, branches: ReadonlyMap<string, ShapedValue>, ops: Ops): M {
  const moves = new Map<string, Move>();
  for (const [path, branch] of branches) {
    const to = ops.scope(path, () => ops.add(siteOf(model, path).y, branch));
    moves.set(path, { to, nodes: [model.graph.nodes.at(-1)!] });
  }
  return moveOutputs(model, moves);
}

/** The same for whatever takes the place of what leaves the sites. */
export function moveOutputs<M extends ModelGraph>(model: M, moves: ReadonlyMap<string, Move>): M {
  const moved = new Map<ShapedValue, ShapedValue>();
  // When all of them are built: one may read another site's output.
  for (const [path, { to, nodes }] of moves) {
    const { y } = siteOf(model, path);
    moved.set(y, to);
    replaceUses(model.graph, y, to, { except: nodes });
  }
  sortNodes(model.graph);
  const now = (value: ShapedValue): ShapedValue => moved.get(value) ?? value;
  const sites = new Map([...model.sites].map(([path, s]) => [path, { ...s, x: now(s.x), y: now(s.y) }]));
  const outputs = Object.fromEntries(Object.entries(model.outputs).map(([name, value]) => [name, now(value)]));
  return { ...model, sites, outputs };
}
