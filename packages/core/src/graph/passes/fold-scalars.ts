import type { Graph, Node, Value } from '../graph.js';
import { usesOf } from './uses.js';

const isGemm = (node: Node | 'output' | undefined): node is Node =>
  node !== 'output' && node?.op === 'Gemm' && node.domain === '';

const factor = (node: Node, name: 'alpha' | 'beta'): number => {
  const attribute = node.attributes[name];
  return attribute?.type === 'float' ? attribute.value : 1;
};

/** The node with α (and β, when `sum` is scaled) multiplied by c. */
function scaled(node: Node, c: number, sum: boolean): Node {
  const attributes = { ...node.attributes, alpha: { type: 'float', value: factor(node, 'alpha') * c } as const };
  return sum && node.inputs[2]
    ? { ...node, attributes: { ...attributes, beta: { type: 'float', value: factor(node, 'beta') * c } } }
    : { ...node, attributes };
}

/** `Mul(v, c)` with one constant number: its other operand and c. */
function scaling(graph: Graph, node: Node): { v: Value; c: number } | undefined {
  if (node.op !== 'Mul' || node.domain !== '') return undefined;
  for (const [i, j] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const tensor = graph.constants.get(node.inputs[i]!.name);
    if (tensor?.dtype === 'f32' && tensor.shape.length === 0)
      return { v: node.inputs[j]!, c: tensor.data[0] as number };
  }
  return undefined;
}

/**
 * Multiplications by a number move into the α and β of the matrix products beside them: `c (α A B + β C)` of a product
 * that nobody else reads, and `c x` that only products read.
 */
export function foldScalars(graph: Graph): void {
  const { producer, consumers } = usesOf(graph);
  const current = new Map<Node, Node | undefined>(); // a node and what stands in its place; undefined: removed
  const now = (node: Node): Node | undefined => (current.has(node) ? current.get(node) : node);

  for (const node of graph.nodes) {
    const scale = scaling(graph, node);
    const made = node.outputs[0]!;
    if (!scale) continue;
    const before = producer.get(scale.v);
    const product = before && now(before);
    if (isGemm(product) && consumers(scale.v).length === 1) {
      current.set(before!, { ...scaled(product, scale.c, true), outputs: [made] });
      current.set(node, undefined);
      producer.set(made, before!);
      continue;
    }
    const readers = consumers(made);
    const operandOnly = (reader: Node | 'output') =>
      isGemm(reader) && reader.inputs[2] !== made && (reader.inputs[0] === made) !== (reader.inputs[1] === made);
    if (readers.length > 0 && readers.every(operandOnly)) {
      for (const reader of readers as Node[]) {
        const fused = scaled(now(reader)!, scale.c, false);
        fused.inputs = fused.inputs.map((input) => (input === made ? scale.v : input));
        current.set(reader, fused);
      }
      current.set(node, undefined);
    }
  }
  graph.nodes = graph.nodes.flatMap((node) => now(node) ?? []);
}
