import { PeftError } from '../errors.js';
import { replaceUses, sortNodes } from '../graph/edit.js';
import type { Node, ShapedValue } from '../graph/graph.js';
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

/**
 * Adds branches [rows, out] to what leaves their sites, and gives the model in which everything (other sites' inputs,
 * named outputs, branches themselves) reads the sums. The graph is changed in place; use the returned model from here on.
 */
export function addBranches<M extends ModelGraph>(model: M, branches: ReadonlyMap<string, ShapedValue>, ops: Ops): M {
  const moved = new Map<ShapedValue, ShapedValue>();
  const sums: { from: ShapedValue; to: ShapedValue; node: Node }[] = [];
  for (const [path, branch] of branches) {
    const { y } = siteOf(model, path);
    const to = ops.scope(path, () => ops.add(y, branch));
    sums.push({ from: y, to, node: model.graph.nodes.at(-1)! });
    moved.set(y, to);
  }
  // After all of them are built: a branch may read another site's output.
  for (const { from, to, node } of sums) replaceUses(model.graph, from, to, { except: [node] });
  sortNodes(model.graph);
  const now = (value: ShapedValue): ShapedValue => moved.get(value) ?? value;
  const sites = new Map([...model.sites].map(([path, s]) => [path, { ...s, x: now(s.x), y: now(s.y) }]));
  const outputs = Object.fromEntries(Object.entries(model.outputs).map(([name, value]) => [name, now(value)]));
  return { ...model, sites, outputs };
}
