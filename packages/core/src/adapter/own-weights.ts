import { createOps } from '../graph/ops.js';
import type { TensorRef } from '../tensor/tensor.js';
import { readerOf } from './branch.js';
import type { ModelGraph } from './target.js';

/**
 * Gives a module that reads the weight of another (a tied head) one of its own, under its own path, where `changed` does
 * not say the same of both.
 */
export function untie(model: ModelGraph, changed: ReadonlyMap<string, unknown>): void {
  const { graph, sites } = model;
  const ops = createOps(graph);
  for (const [module, site] of sites) {
    const path = `${module}.weight`;
    const reader = readerOf(model, site);
    if (!reader || reader.weight.name === path || changed.get(path) === changed.get(reader.weight.name)) continue;
    const own = ops.weight(path, graph.weights.get(reader.weight.name)!);
    reader.node.inputs = reader.node.inputs.map((input) => (input === reader.weight ? own : input));
  }
}

/** Puts others in place of a graph's weights, each in its own module alone. Those without a part in it are left out. */
export function setWeights(model: ModelGraph, refs: ReadonlyMap<string, TensorRef>): void {
  const { weights } = model.graph;
  untie(model, refs);
  for (const [path, ref] of refs) if (weights.has(path)) weights.set(path, ref);
}
