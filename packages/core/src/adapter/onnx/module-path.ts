import type { Node } from '../../graph/graph.js';

/** Where PyTorch's newer exporter notes the modules that a node came from, as a Python list. */
const scopesKey = 'pkg.torch.onnx.name_scopes';

/** What tools put behind a parameter's path: `.MatMul.weight`, `.weight_quantized`, `.weight_Q4`, `.qweight`. */
const weightEnding = /(?:\.MatMul)?\.q?weight(?:_[A-Za-z0-9]+)?$/;

/** ONNX Runtime GenAI's builder calls the attention of a layer `attn`; everybody else, and PEFT's rules, `self_attn`. */
const builderAttention = /(^|\.)(layers\.\d+)\.attn\.([qkvo]_proj)$/;

/**
 * The path of the module that a node computes, in Hugging Face terms: as the exporter noted it, else from the node's
 * name (`/model/layers.0/self_attn/q_proj/MatMul`), else from the name of its weight.
 */
export function modulePath(node: Node, weight: string): string {
  const path = fromScopes(node) ?? fromNodeName(node) ?? weight.replace(weightEnding, '');
  return path.replace(builderAttention, '$1$2.self_attn.$3');
}

function fromScopes({ metadata }: Node): string | undefined {
  const scopes = [...(metadata?.[scopesKey] ?? '').matchAll(/'([^']*)'/g)].map(([, scope]) => scope!);
  return scopes.slice(0, -1).findLast((scope) => scope !== ''); // the last one is the operation
}

function fromNodeName({ name }: Node): string | undefined {
  const parts = name.split('/').filter((part) => part !== '');
  return parts.length > 1 ? parts.slice(0, -1).join('.') : undefined;
}
