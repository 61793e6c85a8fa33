import { Problems } from '../errors.js';
import { cloneGraph, prune } from '../graph/edit.js';
import type { Graph, Value } from '../graph/graph.js';
import type { CompileOptions } from './backend.js';

/** The part of a graph that one program runs. */
export interface Selection {
  readonly graph: Graph;
  readonly outputs: readonly string[];
  readonly carry: Readonly<Record<string, string>>;
  /** Inputs to feed, and inputs that carry state. */
  readonly feeds: ReadonlyMap<string, Value>;
  readonly carried: ReadonlyMap<string, Value>;
  /** Inputs of the graph that none of the outputs needs: they may be fed, to no effect. */
  readonly unused: ReadonlySet<string>;
}

/**
 * The part of a graph that a compile call asks for, as a copy: what nothing needs is gone.
 * @throws PeftError GRAPH_INVALID when outputs or carried values do not exist or do not fit each other
 */
export function select(original: Graph, { outputs, carry = {} }: CompileOptions): Selection {
  const problems = new Problems();
  const made = new Map(original.outputs.map((value) => [value.name, value]));
  const inputs = new Map(original.inputs.map((value) => [value.name, value]));
  for (const name of [...(outputs ?? []), ...Object.keys(carry)])
    if (!made.has(name)) problems.add(`"${name}" is not an output; outputs are ${[...made.keys()].join(', ')}`);
  for (const [from, to] of Object.entries(carry)) {
    const output = made.get(from);
    const input = inputs.get(to);
    if (!input) problems.add(`"${from}" is carried into "${to}", which is not an input`);
    else if (output && output.dtype !== input.dtype)
      problems.add(`"${from}" (${output.dtype}) is carried into "${to}" (${input.dtype})`);
  }
  if (new Set(Object.values(carry)).size < Object.keys(carry).length)
    problems.add('two outputs are carried into one input');
  problems.throwIfAny('GRAPH_INVALID', `Graph "${original.name}" cannot be compiled as asked`);

  const returned = outputs ?? [...made.keys()].filter((name) => !(name in carry));
  const graph = cloneGraph(original);
  const wanted = [...new Set([...returned, ...Object.keys(carry)])].map((name) => made.get(name)!);
  const captured = capturedBy(graph);
  graph.outputs.splice(0, Infinity, ...wanted, ...captured);
  widenCasts(graph);
  prune(graph, { inputs: true });
  graph.outputs.splice(wanted.length, captured.length);

  const kept = graph.inputs.filter(({ name }) => !graph.constants.has(name) && !graph.weights.has(name));
  const state = new Set(Object.values(carry));
  return {
    graph,
    outputs: returned,
    carry,
    feeds: new Map(kept.filter(({ name }) => !state.has(name)).map((value) => [value.name, value])),
    carried: new Map([...state].map((name) => [name, inputs.get(name)!])),
    unused: new Set([...inputs.keys()].filter((name) => !graph.values.has(name))),
  };
}

/** Values that sub-graphs read by name: no node lists them as its input. */
function capturedBy(graph: Graph): Value[] {
  const names = new Set<string>();
  for (const node of graph.nodes)
    for (const attribute of Object.values(node.attributes))
      if (attribute.type === 'opaque') for (const name of attribute.captures ?? []) names.add(name);
  return [...names].map((name) => graph.values.get(name)!);
}

/**
 * A half-precision weight that is only cast to f32 becomes an f32 weight: the runtime would make that copy for every
 * session, here it is made once and mapped.
 */
function widenCasts(graph: Graph): void {
  const isWide = (value: Value) => value.dtype === 'f16' || value.dtype === 'bf16';
  graph.nodes = graph.nodes.filter((node) => {
    const [from, to] = [node.inputs[0], node.outputs[0]];
    const ref =
      node.op === 'Cast' && node.domain === '' && from && isWide(from) ? graph.weights.get(from.name) : undefined;
    if (!ref || to?.dtype !== 'f32' || graph.outputs.includes(to)) return true;
    graph.weights.set(to.name, ref);
    return false;
  });
}
