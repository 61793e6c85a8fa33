import { fromBinary } from '@bufbuild/protobuf';
import { isPeftError, PeftError, Problems } from '../../errors.js';
import { tensorRef } from '../../tensor/refs.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { sortNodes } from '../edit.js';
import { createGraph, type Graph, type Node, type Value } from '../graph.js';
import { checkModel, domainOf } from './check.js';
import { isConstant, readInitializer, type WeightSources } from './initializer.js';
import { type DecodedNode, decodeNode } from './node.js';
import { type ModelProto, ModelProtoSchema } from './onnx_pb.gen.js';
import { outputDType } from './output-dtypes.js';
import { type Draft, declaredValues } from './values.js';

/**
 * An ONNX model as a graph. Initializers become weights, except scalars and integer vectors (extents, axes, indices),
 * which become constants; so do the numbers of `Constant` nodes. Operations, domains and attributes that this library
 * does not know are kept as they are; sub-graphs stay encoded. Nodes are put in order.
 * @throws PeftError FILE_INVALID with everything that is wrong; MODEL_UNSUPPORTED for strings, sparse weights,
 * sequences and local functions
 */
export const decodeModel = (bytes: Uint8Array, sources: WeightSources = {}): Graph =>
  buildGraph(parseModel(bytes), sources, bytes.byteOffset);

/** The message alone; nothing in it is checked yet. @throws PeftError FILE_INVALID */
export function parseModel(bytes: Uint8Array): ModelProto {
  return asFileError(() => fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false }));
}

/** @param start where the model's bytes begin in the buffer that the message is a view of */
export function buildGraph(model: ModelProto, sources: WeightSources, start: number): Graph {
  const proto = checkModel(model);
  const problems = new Problems();
  const declared = declaredValues(proto, problems);
  const drafts = new Map<string, Draft>();
  const graph: Graph = {
    ...createGraph(proto.name),
    opset: Object.fromEntries(model.opsetImport.map(({ domain, version }) => [domainOf(domain), Number(version)])),
    metadata: Object.fromEntries(model.metadataProps.map(({ key, value }) => [key, value])),
  };

  const define = (name: string, known?: Pick<Draft, 'dtype' | 'shape'>): Value => {
    if (drafts.has(name)) problems.add(`two values are named "${name}"`);
    const draft: Draft = { dtype: undefined, shape: undefined, ...declared.get(name), ...known, name };
    drafts.set(name, draft);
    return draft as Value;
  };
  const hold = (name: string, held: Tensor | TensorRef) => {
    define(name, { dtype: held.dtype, shape: held.shape });
    if ('data' in held) graph.constants.set(name, held);
    else graph.weights.set(name, held);
  };

  for (const tensor of proto.initializer) {
    const read = collect(problems, () => readInitializer(tensor, sources, start));
    if (read) hold(tensor.name, read);
    else define(tensor.name); // its fault is listed: what reads it is not at fault too
  }
  for (const { name } of proto.input) {
    // Before ir_version 4 every initializer had to be listed as an input; later a listed one is a default to override.
    if (!drafts.has(name)) graph.inputs.push(define(name));
    else if (model.irVersion >= 4n) graph.inputs.push(drafts.get(name) as Value);
  }

  const decoded: DecodedNode[] = [];
  proto.node.forEach((node, i) => {
    const read = collect(problems, () => decodeNode(node, i));
    if (read?.constant) hold(node.output[0]!, isConstant(read.constant) ? read.constant : tensorRef(read.constant));
    else if (read) decoded.push(read);
    else for (const name of node.output) if (name !== '') define(name);
  });
  graph.nodes = decoded.map(({ node, outputs }) => ({
    ...node,
    inputs: [],
    outputs: outputs.map((name) => (name === '' ? undefined : define(name))),
  }));
  const find = (name: string, reader: string): Value | undefined => {
    const draft = drafts.get(name);
    if (!draft) problems.add(`${reader} reads "${name}", which nothing defines`);
    return draft as Value | undefined;
  };
  decoded.forEach(({ inputs }, i) => {
    const node = graph.nodes[i]!;
    node.inputs = inputs.map((name) => (name === '' ? undefined : find(name, `node "${node.name}"`)));
    for (const attribute of Object.values(node.attributes))
      if (attribute.type === 'opaque')
        for (const name of attribute.captures ?? []) find(name, `a sub-graph of node "${node.name}"`);
  });
  for (const { name } of proto.output) {
    const value = find(name, 'the model');
    if (value) graph.outputs.push(value);
  }
  problems.throwIfAny('FILE_INVALID', `ONNX graph "${graph.name}"`);

  asFileError(() => sortNodes(graph));
  for (const node of graph.nodes) settleTypes(node);
  for (const [name, draft] of drafts) graph.values.set(name, draft as Value);
  return graph;
}

/** Gives the outputs of a node the types that the file left out; its inputs have theirs already. */
function settleTypes(node: Node): void {
  const inputs = node.inputs.map((value) => value?.dtype);
  node.outputs.forEach((value, at) => {
    const draft = value as Draft | undefined;
    if (draft) draft.dtype ??= outputDType({ op: node.op, attributes: node.attributes, inputs }, at);
  });
}

/** Runs one step of reading; what is wrong with the file joins the list, what is merely not read here stands alone. */
function collect<T>(problems: Problems, step: () => T): T | undefined {
  try {
    return asFileError(step);
  } catch (error) {
    if (!isPeftError(error) || error.code !== 'FILE_INVALID') throw error;
    problems.add(error.message);
    return undefined;
  }
}

/** Faults of the bytes, whoever finds them, are FILE_INVALID. */
function asFileError<T>(step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (isPeftError(error) && error.code !== 'GRAPH_INVALID') throw error;
    throw new PeftError('FILE_INVALID', `not a valid ONNX model: ${(error as Error).message}`, { cause: error });
  }
}
