import type { Graph, Node, Value } from '../../graph/graph.js';

/** Who makes and who reads each value. */
export interface Links {
  readonly producer: ReadonlyMap<Value, Node>;
  readonly readers: ReadonlyMap<Value, readonly Node[]>;
}

export function linksOf({ nodes, outputs }: Graph): Links {
  const producer = new Map<Value, Node>();
  const readers = new Map<Value, Node[]>();
  for (const node of nodes) {
    for (const output of node.outputs) if (output) producer.set(output, node);
    for (const input of new Set(node.inputs)) if (input) readers.set(input, [...(readers.get(input) ?? []), node]);
  }
  for (const output of outputs) if (!readers.has(output)) readers.set(output, []);
  return { producer, readers };
}

/** A weight as a product sees it. */
export interface Operand {
  readonly name: string;
  readonly shape: readonly number[];
}

const turning = (node: Node): boolean => {
  const { perm } = node.attributes;
  return perm === undefined || (perm.type === 'ints' && perm.value.length === 2 && perm.value[0] === 1);
};

/** Nodes between a stored weight and the product that leave its elements where they are, or turn it over. */
const passing: Readonly<Record<string, (node: Node, shape: readonly number[]) => readonly number[] | undefined>> = {
  Identity: (_, shape) => shape,
  Cast: (_, shape) => shape,
  DequantizeLinear: (_, shape) => shape,
  Transpose: (node, shape) => (turning(node) ? [...shape].reverse() : undefined),
};

/** The stored weight that a value is; undefined when it is computed from something else. */
export function weightOf(value: Value | undefined, graph: Graph, links: Links): Operand | undefined {
  if (!value) return undefined;
  const stored = graph.weights.get(value.name);
  if (stored) return { name: value.name, shape: stored.shape };
  const node = links.producer.get(value);
  const pass = node && node.domain === '' ? passing[node.op] : undefined;
  const source = pass && weightOf(node!.inputs[0], graph, links);
  const shape = source && pass(node!, source.shape);
  return shape && { name: source.name, shape };
}

/** What was quantised to give `value`; the value itself when it was not. The branch reads x before it was rounded. */
export function beforeQuantizing(value: Value, { producer }: Links): Value {
  const node = producer.get(value);
  if (node?.op === 'DequantizeLinear') {
    const quantize = node.inputs[0] && producer.get(node.inputs[0]);
    return quantize?.op === 'QuantizeLinear' ? quantize.inputs[0]! : value;
  }
  return node?.op === 'QuantizeLinear' || node?.op === 'DynamicQuantizeLinear' ? node.inputs[0]! : value;
}

/** Follows a value through its only readers, which must be these operations; undefined when it goes another way. */
export function through(value: Value | undefined, ops: readonly string[], { readers }: Links): Value | undefined {
  let at = value;
  for (const op of ops) {
    const [reader, ...others] = (at && readers.get(at)) ?? [];
    if (!reader || others.length > 0 || reader.op !== op) return undefined;
    at = reader.outputs[0];
  }
  return at;
}
