import { type ErrorCode, type Graph, isPeftError, machineFault, PeftError } from '@peftjs/core';

/** What the runtime's messages mean. The first group is the node, or the operation (a bare word), that it names. */
const meanings: readonly (readonly [pattern: RegExp, code: ErrorCode, say: (what: string) => string])[] = [
  [/No Op registered for (\S+)/, 'BACKEND_UNSUPPORTED', (op) => `it has no operation ${op}`],
  [
    /Could not find an implementation for (\S+ node with name '[^']*')/,
    'BACKEND_UNSUPPORTED',
    (node) => `it cannot compute ${node} in these types`,
  ],
  [
    /Provider type for (\S+ node with name '[^']*') is not set/,
    'BACKEND_UNSUPPORTED',
    (node) => `it cannot compute ${node} in these types`,
  ],
  [
    /running (\S+ node\. Name:'[^']*').*requires f16 but the device/s,
    'BACKEND_UNSUPPORTED',
    (node) => `the device has no f16, which ${node.replace('. Name:', ' ')} needs: cast to f32 in the graph`,
  ],
  [
    /Non-zero status code returned while running (\S+ node\. Name:'[^']*')/,
    'GRAPH_INVALID',
    (node) => `${node.replace('. Name:', ' ')} failed`,
  ],
  [/(Node \([^)]*\)) Op \(\S+\)/, 'GRAPH_INVALID', (node) => `${node} does not fit its inputs`],
];

/** A fault of the runtime as a typed error that names the node where the runtime names it. */
export function runtimeError(error: unknown, doing: string): PeftError {
  if (isPeftError(error)) return error;
  const text = error instanceof Error ? error.message : String(error);
  const fault = machineFault(text);
  if (fault) return new PeftError('BACKEND_UNAVAILABLE', `ONNX Runtime ${doing}: ${fault}. ${text}`, { cause: error });
  for (const [pattern, code, say] of meanings) {
    const found = pattern.exec(text);
    if (!found) continue;
    const details = found[1] === undefined ? {} : { [/^\w+$/.test(found[1]) ? 'operation' : 'node']: found[1] };
    return new PeftError(code, `ONNX Runtime ${doing}: ${say(found[1] ?? '')}. ${text}`, { cause: error, details });
  }
  return new PeftError('GRAPH_INVALID', `ONNX Runtime ${doing}: ${text}`, { cause: error });
}

/** The same error with the nodes of the operation that it names: the runtime often says only which operation. */
export function withNodes(error: unknown, { nodes }: Graph): unknown {
  if (!isPeftError(error) || error.details.operation === undefined) return error;
  const names = nodes.filter(({ op }) => op === error.details.operation).map(({ name }) => name);
  const details = { ...error.details, nodes: names };
  return new PeftError(error.code, `${error.message} (nodes: ${names.join(', ')})`, { cause: error, details });
}

export const installLines = {
  node: 'npm install onnxruntime-node (behind a proxy or without a network: ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node)',
  web: 'npm install onnxruntime-web',
} as const;
