import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { PeftError } from '../../errors.js';
import type { Attribute } from '../graph.js';
import { type AttributeProto, AttributeProtoSchema } from './onnx_pb.gen.js';
import { capturedNames } from './subgraphs.js';
import { decodeTensor, encodeTensor } from './tensor.js';
import { attributeType as kind, onnxDType } from './types.js';

/** An attribute's name and value; sub-graphs and whatever else this library does not interpret stay encoded. */
export function decodeAttribute(bytes: Uint8Array): { name: string; attribute: Attribute } {
  const proto = fromBinary(AttributeProtoSchema, bytes);
  if (proto.name === '') throw new PeftError('FILE_INVALID', 'an attribute has no name');
  const captures = [...capturedNames(proto)];
  const opaque = (): Attribute => ({ type: 'opaque', bytes: bytes.slice(), ...(captures.length > 0 && { captures }) });
  return { name: proto.name, attribute: plain(proto) ?? opaque() };
}

/** @throws PeftError GRAPH_INVALID for numbers that the format cannot hold */
export function encodeAttribute(name: string, attribute: Attribute): Uint8Array {
  if (attribute.type === 'opaque') return attribute.bytes;
  const proto = create(AttributeProtoSchema, { name, type: kind[attribute.type] });
  switch (attribute.type) {
    case 'int':
      proto.i = integer(name, attribute.value);
      break;
    case 'float':
      proto.f = attribute.value;
      break;
    case 'string':
      proto.s = new TextEncoder().encode(attribute.value);
      break;
    case 'tensor':
      proto.t = encodeTensor('', attribute.value);
      break;
    case 'ints':
      proto.ints = attribute.value.map((value) => integer(name, value));
      break;
    case 'floats':
      proto.floats = [...attribute.value];
      break;
    case 'strings':
      proto.strings = attribute.value.map((value) => new TextEncoder().encode(value));
      break;
    default:
      attribute satisfies never;
  }
  return toBinary(AttributeProtoSchema, proto);
}

function plain(proto: AttributeProto): Attribute | undefined {
  if (proto.refAttrName !== '') return undefined;
  switch (proto.type) {
    case kind.int: {
      const value = Number(proto.i);
      return Number.isSafeInteger(value) ? { type: 'int', value } : undefined;
    }
    case kind.float:
      return { type: 'float', value: proto.f };
    case kind.string: {
      const value = utf8(proto.s);
      return value === undefined ? undefined : { type: 'string', value };
    }
    case kind.tensor:
      return proto.t && onnxDType(proto.t.dataType) ? { type: 'tensor', value: decodeTensor(proto.t) } : undefined;
    case kind.ints: {
      const value = proto.ints.map(Number);
      return value.every(Number.isSafeInteger) ? { type: 'ints', value } : undefined;
    }
    case kind.floats:
      return { type: 'floats', value: proto.floats };
    case kind.strings: {
      const value = proto.strings.map(utf8);
      return value.includes(undefined) ? undefined : { type: 'strings', value: value as string[] };
    }
    default:
      return undefined;
  }
}

function integer(name: string, value: number): bigint {
  if (Number.isSafeInteger(value)) return BigInt(value);
  throw new PeftError('GRAPH_INVALID', `Attribute "${name}" is ${value}; an integer is needed.`);
}

function utf8(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
