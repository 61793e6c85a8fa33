import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { PeftError } from '../../errors.js';
import { cast } from '../../tensor/convert.js';
import { byteLength } from '../../tensor/dtype.js';
import type { TensorRef } from '../../tensor/tensor.js';
import type { Dim } from '../dim.js';
import type { Graph, Node, Value } from '../graph.js';
import { encodeAttribute } from './attribute.js';
import type { External } from './external.js';
import {
  ModelProtoSchema,
  type NodeProtoSchema,
  type TensorProto,
  TensorProtoSchema,
  type ValueInfoProtoSchema,
} from './onnx_pb.gen.js';
import { encodeTensor, requireCode } from './tensor.js';

/** A protobuf message ends at 2 GiB; the rest is room for nodes and names. */
const maxInline = 2 ** 31 - 2 ** 26;

export interface EncodeOptions {
  /** Where a weight lies outside the model, in the dtype of its graph value; undefined: it is written into the model. */
  readonly externalData?: (name: string, ref: TensorRef) => External | undefined;
  /** Write the shapes of inner values too, for whoever reads the file back. Default: of inputs and outputs only. */
  readonly shapes?: boolean;
}

/**
 * A graph as the bytes of an ONNX model (ir_version 10). Weights without an external location are read and written into
 * it, widened where the graph's value is wider than the reference (f16 and bf16 bases).
 * @throws PeftError GRAPH_INVALID when these exceed 2 GB, or for a dtype that ONNX does not have
 */
export async function encodeModel(graph: Graph, options: EncodeOptions = {}): Promise<Uint8Array> {
  const weights = [...graph.weights].map(([name, ref]) => {
    const value = weightValue(graph, name);
    return { name, ref, dtype: value.dtype, external: options.externalData?.(name, ref) };
  });
  const inline = weights.filter(({ external }) => !external);
  const bytes = inline.reduce((sum, { dtype, ref }) => sum + byteLength(dtype, ref.shape), 0);
  if (bytes > maxInline)
    throw new PeftError(
      'GRAPH_INVALID',
      `The weights of "${graph.name}" take ${bytes} bytes, and an ONNX model holds less than 2 GB. Write it with writeModel, or give \`externalData\` locations.`,
      { details: { bytes, weights: inline.length } },
    );

  const initializer: TensorProto[] = [...graph.constants].map(([name, tensor]) => encodeTensor(name, tensor));
  for (const { name, ref, dtype, external } of weights)
    initializer.push(
      external
        ? create(TensorProtoSchema, {
            name,
            dataType: requireCode(name, dtype),
            dims: ref.shape.map(BigInt),
            dataLocation: 1,
            externalData: Object.entries(external).map(([key, value]) => ({ key, value: String(value) })),
          })
        : encodeTensor(name, cast(await ref.read(), dtype)),
    );

  const listed = new Set([...graph.inputs, ...graph.outputs]);
  const inner = options.shapes
    ? [...graph.values.values()].filter(
        (v) => !listed.has(v) && !graph.constants.has(v.name) && !graph.weights.has(v.name),
      )
    : [];
  const model = create(ModelProtoSchema, {
    irVersion: 10n,
    producerName: 'peftjs',
    opsetImport: Object.entries(graph.opset).map(([domain, version]) => ({ domain, version: BigInt(version) })),
    metadataProps: entries(graph.metadata),
    graph: {
      name: graph.name || 'graph',
      node: graph.nodes.map(encodeNode),
      initializer,
      input: graph.inputs.map(encodeValue),
      output: graph.outputs.map(encodeValue),
      valueInfo: inner.map(encodeValue),
    },
  });
  return toBinary(ModelProtoSchema, model);
}

const encodeNode = (node: Node): MessageInitShape<typeof NodeProtoSchema> => ({
  name: node.name,
  opType: node.op,
  domain: node.domain,
  input: node.inputs.map((value) => value?.name ?? ''),
  output: Array.from(node.outputs, (value) => value?.name ?? ''),
  attribute: Object.entries(node.attributes).map(([name, attribute]) => encodeAttribute(name, attribute)),
  metadataProps: entries(node.metadata ?? {}),
});

const encodeValue = ({ name, dtype, shape }: Value): MessageInitShape<typeof ValueInfoProtoSchema> => ({
  name,
  type: {
    value: {
      case: 'tensorType',
      value: { elemType: requireCode(name, dtype), ...(shape && { shape: { dim: shape.map(encodeDim) } }) },
    },
  },
});

const encodeDim = (extent: Dim) => ({
  value:
    typeof extent === 'number'
      ? { case: 'dimValue' as const, value: BigInt(extent) }
      : { case: 'dimParam' as const, value: extent },
});

const entries = (record: Readonly<Record<string, string>>) =>
  Object.entries(record).map(([key, value]) => ({ key, value }));

/** @throws PeftError GRAPH_INVALID */
export function weightValue(graph: Graph, name: string): Value {
  const value = graph.values.get(name);
  if (value) return value;
  throw new PeftError('GRAPH_INVALID', `Weight "${name}" of "${graph.name}" has no value of that name in the graph.`);
}
