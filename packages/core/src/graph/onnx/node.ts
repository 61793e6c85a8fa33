import { PeftError } from '../../errors.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Attribute, Node } from '../graph.js';
import { decodeAttribute } from './attribute.js';
import { domainOf } from './check.js';
import { constantOf } from './constant-node.js';
import type { NodeProto } from './onnx_pb.gen.js';

/** A node whose values are still names. '' is one that is left out. */
export interface DecodedNode {
  readonly node: Omit<Node, 'inputs' | 'outputs'>;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** `constant` is given instead for a node that only holds numbers. @throws PeftError FILE_INVALID */
export function decodeNode(proto: NodeProto, at: number): DecodedNode & { readonly constant?: Tensor } {
  const name = proto.name || `${proto.opType}_${at}`;
  const attributes = new Map<string, Attribute>();
  for (const bytes of proto.attribute) {
    const decoded = decodeAttribute(bytes);
    if (attributes.has(decoded.name))
      throw new PeftError('FILE_INVALID', `node "${name}" has the attribute "${decoded.name}" twice`);
    attributes.set(decoded.name, decoded.attribute);
  }
  const record = Object.fromEntries(attributes);
  const isConstantNode = proto.opType === 'Constant' && domainOf(proto.domain) === '' && proto.output.length === 1;
  const constant = isConstantNode ? constantOf(record) : undefined;
  const metadata = Object.fromEntries(proto.metadataProps.map(({ key, value }) => [key, value]));
  return {
    node: {
      name,
      op: proto.opType,
      domain: domainOf(proto.domain),
      attributes: record,
      ...(proto.metadataProps.length > 0 && { metadata }),
    },
    inputs: proto.input,
    outputs: proto.output,
    ...(constant && { constant }),
  };
}
