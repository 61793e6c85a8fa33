import { fromBinary } from '@bufbuild/protobuf';
import { PeftError } from '../../errors.js';
import { type AttributeProto, AttributeProtoSchema, GraphProtoSchema } from './onnx_pb.gen.js';

/** Levels of If, Loop and Scan inside one another; real exports stay below ten. */
const maxDepth = 32;

/**
 * The outer values that an attribute's sub-graphs read by name. Sub-graphs are carried through undecoded, so whoever
 * prunes or renames has to ask here.
 * @throws PeftError FILE_INVALID for sub-graphs nested deeper than 32
 */
export function capturedNames({ g, graphs }: AttributeProto, depth = 1): Set<string> {
  const captured = new Set<string>();
  for (const bytes of [...(g.length > 0 ? [g] : []), ...graphs]) {
    if (depth > maxDepth) throw new PeftError('FILE_INVALID', `Sub-graphs are nested deeper than ${maxDepth} levels.`);
    const graph = fromBinary(GraphProtoSchema, bytes);
    const own = new Set<string>(['']);
    for (const { name } of [...graph.input, ...graph.initializer]) own.add(name);
    for (const node of graph.node) for (const name of node.output) own.add(name);
    const read = graph.output.map(({ name }) => name);
    for (const node of graph.node) {
      read.push(...node.input);
      for (const attribute of node.attribute)
        read.push(...capturedNames(fromBinary(AttributeProtoSchema, attribute), depth + 1));
    }
    for (const name of read) if (!own.has(name)) captured.add(name);
  }
  return captured;
}
