import { attributesOf, type Graph, isPeftError, type Node, Problems, type Selection, type Value } from '@peftjs/core';
import { dtypes } from './held.js';
import { shapeOperations } from './integers.js';
import { operations } from './operations/index.js';
import type { DeviceTraits, Kernel, NodeView } from './operations/operation.js';

/** One node, ready to run. */
export interface Step {
  readonly node: Node;
  readonly view: NodeView;
  /** Absent where the node only asks for a shape. */
  readonly kernel: Kernel | undefined;
  /** Names that nothing reads after this step. */
  readonly last: readonly string[];
}

/** Operations that a graph may have, by their ONNX names. */
export const operationNames = [...new Set([...Object.keys(operations), ...Object.keys(shapeOperations)])];

/**
 * The nodes of a graph in order, each with its kernel.
 * @throws PeftError BACKEND_UNSUPPORTED naming every operation, variant and element type that is not there
 */
export function makePlan({ graph, outputs, carry }: Selection, device: DeviceTraits): Step[] {
  const problems = new Problems();
  for (const { name, dtype } of graph.values.values())
    if (!dtypes.includes(dtype)) problems.add(`"${name}" is ${dtype}: cast it in the graph`);
  const kept = new Set([...outputs, ...Object.keys(carry)]);
  const last = lastReads(graph, kept);
  const steps = graph.nodes.map((node, i) => {
    const view = viewOf(node, device);
    return { node, view, kernel: kernelOf(view, node, problems), last: last[i]! };
  });
  problems.throwIfAny('BACKEND_UNSUPPORTED', `Graph "${graph.name}" needs what TensorFlow.js does not have here`);
  return steps;
}

const viewOf = (node: Node, device: DeviceTraits): NodeView => ({
  ...attributesOf(node),
  op: node.op,
  outputs: node.outputs.length,
  dtype: node.outputs[0]?.dtype ?? 'f32',
  rank: (i) => node.inputs[i]?.shape?.length,
  device,
});

function kernelOf(view: NodeView, { op, name, domain }: Node, problems: Problems): Kernel | undefined {
  const standard = domain === '' || domain === 'ai.onnx';
  if (standard && shapeOperations[op]) return undefined;
  const operation = standard ? operations[op] : undefined;
  if (!operation) {
    problems.add(`${domain ? `${domain}.` : ''}${op} (node "${name}") is not an operation of this backend`);
    return undefined;
  }
  try {
    return operation(view);
  } catch (error) {
    if (!isPeftError(error)) throw error;
    problems.add(`${op} (node "${name}"): ${error.message}`);
    return undefined;
  }
}

/** For each node the values that it is the last to read or that nobody reads, but for those kept after the run. */
function lastReads({ nodes }: Graph, kept: ReadonlySet<string>): string[][] {
  const seen = new Set(kept);
  return [...nodes]
    .reverse()
    .map(({ inputs, outputs }) => {
      const names = [...inputs, ...outputs].filter((v): v is Value => v !== undefined).map(({ name }) => name);
      const fresh = [...new Set(names)].filter((name) => !seen.has(name));
      for (const name of fresh) seen.add(name);
      return fresh;
    })
    .reverse();
}
