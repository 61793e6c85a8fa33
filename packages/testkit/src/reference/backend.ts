import type { Backend, CompileOptions, Feeds, Graph, Node, Program, Tensor, Value } from '@peftjs/core';
import { attributesOf, isFloat, isPeftError, PeftError } from '@peftjs/core';
import { fromTensor, type NdArray, toTensor } from './array.js';
import { operations } from './operations.js';

export interface ReferenceOptions {
  /** Outputs, carried state and `read` are float64 where the graph says a smaller float: nothing is rounded. Default: false. */
  readonly wide?: boolean;
}

const known = (node: Node) => (node.domain === '' || node.domain === 'ai.onnx' ? operations[node.op] : undefined);

function refuseUnknown(graph: Graph): void {
  const unknown = graph.nodes.filter((node) => !known(node));
  if (unknown.length === 0) return;
  const list = unknown
    .map((node) => `${node.domain ? `${node.domain}.` : ''}${node.op} (node "${node.name}")`)
    .join(', ');
  throw new PeftError('BACKEND_UNSUPPORTED', `The reference backend does not know ${list}.`, {
    details: { operations: [...new Set(unknown.map((node) => node.op))], nodes: unknown.map((node) => node.name) },
  });
}

/** Runs one node and stores its outputs. @throws PeftError naming the node */
function execute(node: Node, values: Map<Value, NdArray>): void {
  const inputs = node.inputs.map((input) => input && values.get(input));
  try {
    const results = [known(node)!(inputs, attributesOf(node), node.outputs.length)].flat();
    node.outputs.forEach((output, i) => {
      const result = results[i];
      if (output && !result) throw new PeftError('BACKEND_UNSUPPORTED', `output ${i} is not computed`);
      if (output && result) values.set(output, result);
    });
  } catch (error) {
    if (!isPeftError(error)) throw error;
    const shapes = inputs.map((input) => (input ? `[${input.shape}]` : '-')).join(', ');
    throw new PeftError(error.code, `${node.op} "${node.name}" of ${shapes}: ${error.message}`, { cause: error });
  }
}

/** Checks a feed against the declared input: f64 stands in for any float; numbers of extents must agree. */
function accept(input: Value, tensor: Tensor, symbols: Map<string, number>): NdArray {
  const sameType = tensor.dtype === input.dtype || (isFloat(tensor.dtype) && isFloat(input.dtype));
  const fits =
    sameType &&
    (!input.shape ||
      (input.shape.length === tensor.shape.length &&
        input.shape.every((dim, i) => {
          const size = tensor.shape[i]!;
          if (typeof dim === 'number') return dim === size;
          if (!symbols.has(dim)) symbols.set(dim, size);
          return symbols.get(dim) === size;
        })));
  if (!fits) {
    const got = `${tensor.dtype} [${tensor.shape}]`;
    throw new PeftError('GRAPH_INVALID', `Input "${input.name}" is ${input.dtype} [${input.shape}], fed was ${got}.`);
  }
  return fromTensor(tensor);
}

async function compile(graph: Graph, options: CompileOptions, wide: boolean): Promise<Program> {
  refuseUnknown(graph);
  const carry = Object.entries(options.carry ?? {});
  const carried = new Map<string, NdArray | undefined>(carry.map(([, input]) => [input, undefined]));
  const names =
    options.outputs ?? graph.outputs.map(({ name }) => name).filter((name) => !(name in (options.carry ?? {})));
  const byName = (name: string): Value => {
    const value = graph.values.get(name);
    if (!value) throw new PeftError('GRAPH_INVALID', `The graph has no value "${name}".`);
    return value;
  };
  const inputs = new Map(graph.inputs.map((input) => [input.name, input]));
  for (const name of [...names, ...carry.flat()]) byName(name);

  const fixed = new Map<Value, NdArray>();
  for (const [name, tensor] of graph.constants) fixed.set(byName(name), fromTensor(tensor));
  for (const [name, ref] of graph.weights) fixed.set(byName(name), fromTensor(await ref.read(options)));

  let disposed = false;
  const alive = () => {
    if (disposed) throw new PeftError('GRAPH_INVALID', `The program of "${graph.name}" was disposed.`);
  };
  const give = (array: NdArray, value: Value) => toTensor(array, wide && isFloat(value.dtype) ? 'f64' : value.dtype);
  const held = (array: NdArray, value: Value): NdArray => (wide ? array : fromTensor(give(array, value)));
  const state = (name: string): Value => {
    const input = inputs.get(name);
    if (!input || !carried.has(name)) throw new PeftError('GRAPH_INVALID', `"${name}" is not a carried input.`);
    return input;
  };

  return {
    async run(feeds: Feeds, { signal } = {}) {
      alive();
      signal?.throwIfAborted();
      const values = new Map(fixed);
      const symbols = new Map<string, number>();
      for (const [name, input] of inputs) {
        const kept = carried.get(name);
        const fed = feeds[name];
        if (carried.has(name) ? !kept : !fed) {
          throw new PeftError('GRAPH_INVALID', `Input "${name}" of "${graph.name}" was neither fed nor written.`);
        }
        values.set(input, kept ?? accept(input, fed!, symbols));
      }
      for (const node of graph.nodes) execute(node, values);
      for (const [output, input] of carry) carried.set(input, held(values.get(byName(output))!, byName(output)));
      return Object.fromEntries(names.map((name) => [name, give(values.get(byName(name))!, byName(name))]));
    },
    async read(name) {
      alive();
      const value = state(name);
      const array = carried.get(name);
      if (!array) throw new PeftError('GRAPH_INVALID', `"${name}" was not written yet.`);
      return give(array, value);
    },
    async write(name, tensor) {
      alive();
      carried.set(name, accept(state(name), tensor, new Map()));
    },
    async dispose() {
      disposed = true;
      fixed.clear();
      carried.clear();
    },
  };
}

/**
 * A backend in plain JavaScript that computes everything in float64: the truth that other backends and gradients are
 * compared with. It takes the graphs they take, and float64 feeds in place of smaller floats; only outputs and carried
 * state are rounded to their types, and not even those when `wide`. Slow on purpose: one loop an operation, nothing fused.
 */
export const referenceBackend = ({ wide = false }: ReferenceOptions = {}): Backend => ({
  spec: 'v1',
  name: 'reference',
  device: 'cpu',
  capabilities: async () => ({
    dtypes: ['f64', 'f32', 'f16', 'bf16', 'i64', 'i32', 'u8', 'bool'],
    operations: Object.keys(operations),
    devices: ['cpu'],
    weights: 'copied',
  }),
  compile: (graph, options = {}) => compile(graph, options, wide),
  dispose: async () => {},
});
