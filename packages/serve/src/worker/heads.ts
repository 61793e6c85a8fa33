import {
  createOps,
  divDim,
  type ModelGraph,
  PeftError,
  prune,
  replaceUses,
  type ShapedValue,
  sortNodes,
} from '@peftjs/core';
import type { Layout } from './protocol.js';

/** Names of the inputs that hold the heads of all slots: `weight` [slots, out, in], `bias` [slots, out]. */
export const headInputs = (path: string) => ({ weight: `${path}:heads.weight`, bias: `${path}:heads.bias` });

/**
 * Gives linear maps that differ by adapter (classification heads) their weights by row: y = x Wᵀ + b with W and b
 * gathered by `slot` i64 [batch]. Narrower heads leave the rest of their rows zero. Changes the graph in place; use the
 * returned model from here on.
 */
export function attachHeads(model: ModelGraph, heads: Layout['heads'], slots: number, slot: ShapedValue): ModelGraph {
  const ops = createOps(model.graph);
  const moved = new Map<ShapedValue, ShapedValue>();
  for (const { path, out } of heads) {
    const site = model.sites.get(path);
    if (!site) throw new PeftError('INTERNAL', `The graph has no linear map "${path}".`);
    const { x, y, target } = site;
    const each = divDim(x.shape[0]!, 'batch')!; // rows of a batch row
    const names = headInputs(path);
    const w = ops.gather(ops.input(names.weight, 'f32', [slots, out, target.in]), slot); // [batch, out, in]
    const b = ops.gather(ops.input(names.bias, 'f32', [slots, out]), slot); // [batch, out]
    const product = ops.matmul(ops.reshape(x, ['batch', each, target.in]), ops.transpose(w, [0, 2, 1]));
    const z = ops.reshape(ops.add(product, ops.unsqueeze(b, [1])), [x.shape[0]!, out]);
    // A named output of the old width is not renamed but replaced.
    const named = model.graph.nodes.find((node) => node.op === 'Identity' && node.inputs[0] === y)?.outputs[0];
    for (const old of [y, named]) {
      if (!old) continue;
      replaceUses(model.graph, old, z);
      moved.set(old as ShapedValue, z);
    }
  }
  sortNodes(model.graph);
  prune(model.graph);
  const outputs = Object.entries(model.outputs).map(([name, value]) => [name, moved.get(value) ?? value]);
  return { ...model, outputs: Object.fromEntries(outputs) };
}
