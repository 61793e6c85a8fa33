import type { Graph, Node, Value } from '../graph.js';

export interface Uses {
  readonly producer: Map<Value, Node>;
  /** Consumers of a value; a graph output counts as one that cannot be changed. */
  consumers(value: Value): readonly (Node | 'output')[];
}

/** Who makes and who reads each value, as the graph stands now. */
export function usesOf(graph: Graph): Uses {
  const producer = new Map<Value, Node>();
  const readers = new Map<Value, (Node | 'output')[]>();
  const note = (value: Value, by: Node | 'output') => {
    const list = readers.get(value);
    if (list) list.push(by);
    else readers.set(value, [by]);
  };
  for (const node of graph.nodes) {
    for (const output of node.outputs) if (output) producer.set(output, node);
    for (const input of node.inputs) if (input) note(input, node);
  }
  for (const output of graph.outputs) note(output, 'output');
  return { producer, consumers: (value) => readers.get(value) ?? [] };
}
