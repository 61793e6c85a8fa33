import { Problems } from '../../errors.js';
import { writeFileAtomic } from '../../files/atomic.js';
import { byteLength, bytesOf } from '../../tensor/dtype.js';
import { readInPieces } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import {
  alignmentKey,
  alignUp,
  arrayCode,
  defaultAlignment,
  type GgufScalar,
  type GgufScalarType,
  type GgufValue,
  ggmlCode,
  magic,
  scalarTypes,
  version,
} from './types.js';

export interface GgufContent {
  /** Written in this order. `general.alignment` is followed. */
  readonly metadata: ReadonlyMap<string, GgufValue>;
  /** Row-major, of f32, f16, bf16, f64 or integers; written in this order. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
}

/** ggml keeps names in 64 bytes with their end. */
const maxNameBytes = 63;
const maxAxes = 4;

const utf8 = new TextEncoder();

const u32 = (value: number): Uint8Array => fixed(4, (view) => view.setUint32(0, value, true));
const u64 = (value: number | bigint): Uint8Array => fixed(8, (view) => view.setBigUint64(0, BigInt(value), true));

function fixed(bytes: number, set: (view: DataView) => void): Uint8Array {
  const out = new Uint8Array(bytes);
  set(new DataView(out.buffer));
  return out;
}

function text(value: string): Uint8Array[] {
  const bytes = utf8.encode(value);
  return [u64(bytes.length), bytes];
}

/** One scalar as it lies in the file. */
const scalars: Readonly<Record<GgufScalarType, (value: GgufScalar) => Uint8Array[]>> = {
  u8: (v) => [fixed(1, (view) => view.setUint8(0, Number(v)))],
  i8: (v) => [fixed(1, (view) => view.setInt8(0, Number(v)))],
  u16: (v) => [fixed(2, (view) => view.setUint16(0, Number(v), true))],
  i16: (v) => [fixed(2, (view) => view.setInt16(0, Number(v), true))],
  u32: (v) => [u32(Number(v))],
  i32: (v) => [fixed(4, (view) => view.setInt32(0, Number(v), true))],
  f32: (v) => [fixed(4, (view) => view.setFloat32(0, Number(v), true))],
  f64: (v) => [fixed(8, (view) => view.setFloat64(0, Number(v), true))],
  u64: (v) => [u64(v as bigint)],
  i64: (v) => [fixed(8, (view) => view.setBigInt64(0, v as bigint, true))],
  bool: (v) => [Uint8Array.of(v ? 1 : 0)],
  string: (v) => text(String(v)),
};

const codeOf = (type: GgufScalarType): number => scalarTypes.indexOf(type);

const value = (v: GgufValue): Uint8Array[] =>
  v.type === 'array'
    ? [u32(arrayCode), u32(codeOf(v.of)), u64(v.value.length), ...v.value.flatMap(scalars[v.of])]
    : [u32(codeOf(v.type)), ...scalars[v.type](v.value)];

function checkWritable({ tensors }: GgufContent): void {
  const problems = new Problems();
  for (const [name, { dtype, shape }] of tensors) {
    if (utf8.encode(name).length > maxNameBytes)
      problems.add(`the name "${name}" is longer than ${maxNameBytes} bytes.`);
    if (ggmlCode(dtype) === undefined) problems.add(`"${name}" is ${dtype}, which GGUF does not have.`);
    if (shape.length > maxAxes) problems.add(`"${name}" is [${shape}]; ggml has at most ${maxAxes} axes.`);
  }
  problems.throwIfAny('CONFIG_INVALID', 'The tensors cannot be written as GGUF');
}

/** The file in pieces: the header, then the tensors as they are read, each filled up to the alignment. */
async function* encode(content: GgufContent): AsyncGenerator<Uint8Array> {
  checkWritable(content);
  const { metadata, tensors } = content;
  const alignment = Number(metadata.get(alignmentKey)?.value ?? defaultAlignment);
  const header: Uint8Array[] = [utf8.encode(magic), u32(version), u64(tensors.size), u64(metadata.size)];
  const add = (pieces: readonly Uint8Array[]): void => {
    for (const piece of pieces) header.push(piece); // one by one: a vocabulary has more than fit a call
  };
  for (const [key, given] of metadata) add([...text(key), ...value(given)]);
  let offset = 0;
  for (const [name, { dtype, shape }] of tensors) {
    const ne = [...shape].reverse(); // the fastest axis first
    add([...text(name), u32(ne.length), ...ne.map(u64), u32(ggmlCode(dtype)!), u64(offset)]);
    offset = alignUp(offset + byteLength(dtype, shape), alignment);
  }
  yield* header;
  yield padding(
    header.reduce((sum, { length }) => sum + length, 0),
    alignment,
  );
  for (const ref of tensors.values()) {
    for await (const piece of readInPieces(ref)) yield bytesOf(piece);
    yield padding(byteLength(ref.dtype, ref.shape), alignment);
  }
}

const padding = (length: number, alignment: number): Uint8Array => new Uint8Array(alignUp(length, alignment) - length);

/**
 * Writes a GGUF file, streaming. The same content always gives the same bytes.
 * @throws PeftError CONFIG_INVALID with everything that cannot be written, FILE_UNWRITABLE
 */
export const writeGguf = (
  path: string,
  content: GgufContent,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> => writeFileAtomic(path, encode(content), options);

/** The same bytes in memory. */
export async function encodeGguf(content: GgufContent): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of encode(content)) pieces.push(piece);
  const whole = new Uint8Array(pieces.reduce((total, { length }) => total + length, 0));
  pieces.reduce((at, piece) => {
    whole.set(piece, at);
    return at + piece.length;
  }, 0);
  return whole;
}
