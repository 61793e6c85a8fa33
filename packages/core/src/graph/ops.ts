import type { Graph } from './graph.js';
import { createBuilder } from './ops/builder.js';
import { convolution } from './ops/convolution.js';
import { elementwise } from './ops/elementwise.js';
import { indexing } from './ops/indexing.js';
import { matrix } from './ops/matrix.js';
import { network } from './ops/network.js';
import { reductions } from './ops/reduce.js';
import { shapes } from './ops/shape.js';

/**
 * The operations of a graph as functions: each appends standard ONNX nodes (opset 23) to `graph`, infers the shape and
 * type of what it returns, and refuses what does not fit with PeftError GRAPH_INVALID.
 */
export function createOps(graph: Graph) {
  const b = createBuilder(graph);
  const parts = { ...elementwise(b), ...indexing(b), ...reductions(b), ...shapes(b) };
  const products = matrix(b);
  return {
    graph,
    input: b.input,
    weight: b.weight,
    constant: b.constant,
    scalar: b.scalar,
    dim: b.dim,
    output: b.output,
    scope: b.scope,
    node: b.node,
    extend: b.extend,
    ...products,
    ...convolution(b),
    ...parts,
    ...network(b, parts, products),
  };
}

export type Ops = ReturnType<typeof createOps>;
