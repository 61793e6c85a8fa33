import { PeftError, Problems } from '../../errors.js';
import { onnxCode } from '../../graph/onnx/types.js';
import { byteLength, bytesOf } from '../../tensor/dtype.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { formatVersion, identifier, maxBytes } from './format.js';

export interface OnnxAdapterContent {
  /** Default 1. */
  readonly adapterVersion?: number;
  /** Default 1. */
  readonly modelVersion?: number;
  readonly parameters: ReadonlyMap<string, TensorRef>;
}

/** Data begins at multiples of it, so that any runtime can use it where it lies. */
const dataAlignment = 64;

/** Tables with their lists of fields in front: byte sizes, and where the fields lie from the table's start. */
const adapterVtable = [12, 20, 4, 8, 12, 16];
const parameterVtable = [12, 20, 4, 8, 12, 16];

/**
 * Writes parameters as an .onnx_adapter file. The same parameters always give the same bytes.
 * @throws PeftError CONFIG_INVALID with everything that cannot be written
 */
export async function encodeOnnxAdapter(content: OnnxAdapterContent): Promise<Uint8Array<ArrayBuffer>> {
  checkWritable(content);
  const names = new Map([...content.parameters.keys()].map((name) => [name, new TextEncoder().encode(name)]));
  const { end, places } = layOut(content, names);
  const out = new Uint8Array(end);
  const view = new DataView(out.buffer);
  const u16s = (at: number, values: readonly number[]) =>
    values.forEach((value, i) => {
      view.setUint16(at + 2 * i, value, true);
    });
  const u32 = (at: number, value: number) => view.setUint32(at, value, true);
  const pointTo = (at: number, target: number) => u32(at, target - at);
  const table = (at: number, vtable: number) => view.setInt32(at, at - vtable, true);

  const { adapter, list } = fixed;
  pointTo(0, adapter);
  out.set(new TextEncoder().encode(identifier), 4);
  u16s(fixed.adapterVtable, adapterVtable);
  u16s(fixed.parameterVtable, parameterVtable);
  table(adapter, fixed.adapterVtable);
  u32(adapter + 4, formatVersion);
  view.setInt32(adapter + 8, content.adapterVersion ?? 1, true);
  view.setInt32(adapter + 12, content.modelVersion ?? 1, true);
  pointTo(adapter + 16, list);
  u32(list, places.length);
  for (const [i, place] of places.entries()) {
    const { ref, name } = place;
    pointTo(list + 4 + 4 * i, place.table);
    table(place.table, fixed.parameterVtable);
    pointTo(place.table + 4, place.text);
    pointTo(place.table + 8, place.dims);
    view.setInt32(place.table + 12, onnxCode(ref.dtype)!, true);
    pointTo(place.table + 16, place.data);
    u32(place.text, names.get(name)!.length);
    out.set(names.get(name)!, place.text + 4);
    u32(place.dims, ref.shape.length);
    ref.shape.forEach((extent, axis) => {
      view.setBigInt64(place.dims + 4 + 8 * axis, BigInt(extent), true);
    });
    u32(place.data, byteLength(ref.dtype, ref.shape));
    out.set(bytesOf(await ref.read()), place.data + 4);
  }
  return out;
}

/** What lies at the same place in every file. */
const fixed = { adapterVtable: 8, parameterVtable: 20, adapter: 32, list: 52 };

function layOut({ parameters }: OnnxAdapterContent, names: ReadonlyMap<string, Uint8Array>) {
  let at = fixed.list + 4 + 4 * parameters.size;
  /** The next place for `bytes` bytes, `ahead` of which come before those that are aligned. */
  const take = (bytes: number, alignment: number, ahead = 0): number => {
    const start = Math.ceil((at + ahead) / alignment) * alignment - ahead;
    at = start + bytes;
    return start;
  };
  const places = [...parameters].map(([name, ref]) => ({
    name,
    ref,
    table: take(20, 4),
    text: take(4 + names.get(name)!.length + 1, 4),
    dims: take(4 + 8 * ref.shape.length, 8, 4),
    data: take(4 + byteLength(ref.dtype, ref.shape), dataAlignment, 4),
  }));
  return { places, end: Math.ceil(at / 8) * 8 };
}

function checkWritable({ parameters }: OnnxAdapterContent): void {
  const problems = new Problems();
  let bytes = 0;
  for (const [name, { dtype, shape }] of parameters) {
    if (name === '') problems.add('a parameter has no name.');
    if (onnxCode(dtype) === undefined) problems.add(`"${name}" is ${dtype}, which ONNX has no type for.`);
    bytes += byteLength(dtype, shape) + dataAlignment;
  }
  if (parameters.size === 0) problems.add('there are none.');
  problems.throwIfAny('CONFIG_INVALID', 'The parameters cannot be written as .onnx_adapter');
  if (bytes > maxBytes)
    throw new PeftError('CONFIG_INVALID', `The parameters take ${bytes} bytes; an .onnx_adapter file ends at 2 GiB.`);
}
