import { PeftError } from '../errors.js';
import type { Graph, Node, Value } from './graph.js';

/** Makes every consumer of `from` (nodes but `except`, graph outputs, macros) read `to` instead. */
export function replaceUses(graph: Graph, from: Value, to: Value, options: { except?: readonly Node[] } = {}): void {
  for (const node of graph.nodes) {
    if (options.except?.includes(node)) continue;
    node.inputs = node.inputs.map((input) => (input === from ? to : input));
  }
  graph.outputs.forEach((output, i) => {
    if (output === from) graph.outputs[i] = to;
  });
  for (const [output, macro] of graph.macros)
    if (macro.inputs.includes(from as never))
      graph.macros.set(output, { ...macro, inputs: macro.inputs.map((v) => (v === from ? to : v) as never) });
}

/** Turns a frozen weight into an input of the same name, to be fed or carried. */
export function promoteWeight(graph: Graph, name: string): Value {
  const value = graph.values.get(name);
  if (!value || !graph.weights.delete(name))
    throw new PeftError('GRAPH_INVALID', `The graph has no weight "${name}" to train.`, {
      details: { weights: [...graph.weights.keys()] },
    });
  graph.inputs.push(value);
  return value;
}

/** Orders nodes so that each stands after those it reads. Keeps the present order where it can. */
export function sortNodes(graph: Graph): void {
  const producer = new Map<Value, Node>();
  for (const node of graph.nodes) for (const output of node.outputs) if (output) producer.set(output, node);
  const sorted: Node[] = [];
  const state = new Map<Node, 'open' | 'done'>();
  for (const root of graph.nodes) {
    const stack: Node[] = [root];
    while (stack.length > 0) {
      const node = stack.at(-1)!;
      if (state.get(node) === 'done') {
        stack.pop();
        continue;
      }
      state.set(node, 'open');
      const waiting = node.inputs
        .map((input) => input && producer.get(input))
        .filter((p): p is Node => p !== undefined && state.get(p) !== 'done');
      if (waiting.length === 0) {
        state.set(node, 'done');
        sorted.push(node);
        stack.pop();
      } else if (waiting.some((p) => state.get(p) === 'open')) {
        throw new PeftError('GRAPH_INVALID', `Nodes form a cycle through "${node.name}".`);
      } else {
        stack.push(...waiting.reverse());
      }
    }
  }
  graph.nodes = sorted;
}

/** Drops nodes, constants and weights that no output needs; inputs too when asked. */
export function prune(graph: Graph, options: { inputs?: boolean } = {}): void {
  const producer = new Map<Value, Node>();
  for (const node of graph.nodes) for (const output of node.outputs) if (output) producer.set(output, node);
  const live = new Set<Value>(graph.outputs);
  const liveNodes = new Set<Node>();
  const queue = [...graph.outputs];
  for (let value = queue.pop(); value; value = queue.pop()) {
    const node = producer.get(value);
    if (!node || liveNodes.has(node)) continue;
    liveNodes.add(node);
    for (const output of node.outputs) if (output) live.add(output);
    for (const input of [...node.inputs, ...captured(graph, node)]) {
      if (!input || live.has(input)) continue;
      live.add(input);
      queue.push(input);
    }
  }
  graph.nodes = graph.nodes.filter((node) => liveNodes.has(node));
  const kept = new Set(graph.inputs);
  if (options.inputs) graph.inputs.splice(0, graph.inputs.length, ...graph.inputs.filter((input) => live.has(input)));
  for (const [name, value] of graph.values) {
    if (live.has(value) || (!options.inputs && kept.has(value))) continue;
    graph.values.delete(name);
    graph.constants.delete(name);
    graph.weights.delete(name);
    graph.macros.delete(value);
  }
}

/** Values that the sub-graphs of a node read from outside. */
const captured = (graph: Graph, node: Node): (Value | undefined)[] =>
  Object.values(node.attributes).flatMap((attribute) =>
    attribute.type === 'opaque' ? (attribute.captures ?? []).map((name) => graph.values.get(name)) : [],
  );

/** A copy whose nodes and lists can be edited apart from the original; values, tensors and references are shared. */
export const cloneGraph = (graph: Graph): Graph => ({
  ...graph,
  opset: { ...graph.opset },
  inputs: [...graph.inputs],
  outputs: [...graph.outputs],
  nodes: graph.nodes.map((node) => ({ ...node, inputs: [...node.inputs], outputs: [...node.outputs] })),
  constants: new Map(graph.constants),
  weights: new Map(graph.weights),
  values: new Map(graph.values),
  macros: new Map(graph.macros),
  metadata: { ...graph.metadata },
});
