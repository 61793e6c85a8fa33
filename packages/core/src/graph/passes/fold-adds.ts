import { sameShape } from '../dim.js';
import type { Graph, Node } from '../graph.js';
import { usesOf } from './uses.js';

/** A product that can take a sum in: 2-D, without one so far. */
const open = (node: Node | undefined): node is Node =>
  node?.domain === '' &&
  ((node.op === 'Gemm' && node.inputs.length === 2) ||
    (node.op === 'MatMul' && node.inputs.every((v) => v?.shape?.length === 2)));

/** `A B + Z` becomes one product with C = Z, where nobody else reads A B. */
export function foldAdds(graph: Graph): void {
  const { producer, consumers } = usesOf(graph);
  const replaced = new Map<Node, Node | undefined>();
  for (const node of graph.nodes) {
    if (node.op !== 'Add' || node.domain !== '') continue;
    const [a, b] = node.inputs;
    // The later operand first: a running sum is the earlier one.
    for (const [product, sum] of [
      [b, a],
      [a, b],
    ] as const) {
      const made = producer.get(product!);
      const fits = product?.shape && sum?.shape && sameShape(product.shape, sum.shape);
      if (!fits || !open(made) || replaced.has(made) || consumers(product).length !== 1) continue;
      replaced.set(made, undefined);
      replaced.set(node, { ...made, op: 'Gemm', inputs: [...made.inputs, sum], outputs: node.outputs });
      break;
    }
  }
  graph.nodes = graph.nodes.flatMap((node) => (replaced.has(node) ? (replaced.get(node) ?? []) : [node]));
}
