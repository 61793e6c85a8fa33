import { PeftError, Problems } from '../errors.js';
import { bitsOf, byteLength, bytesOf, elementCount } from '../tensor/dtype.js';
import { readInPieces } from '../tensor/refs.js';
import type { TensorRef } from '../tensor/tensor.js';
import { writeFileAtomic } from './atomic.js';
import { quote } from './json-values.js';
import {
  compareUtf8,
  lengthBytes,
  maxHeaderBytes,
  metadataKey,
  nameOfDtype,
  rankOfDtype,
} from './safetensors-format.js';

export interface WriteOptions {
  readonly metadata?: ReadonlyMap<string, string>;
  readonly signal?: AbortSignal;
}

const loneSurrogate = /\p{Surrogate}/u;

/** What is known of a tensor before it is read. */
export type Described = Pick<TensorRef, 'dtype' | 'shape'>;

function checkWritable(tensors: ReadonlyMap<string, Described>, metadata: ReadonlyMap<string, string>): void {
  const problems = new Problems();
  for (const [name, { dtype, shape }] of tensors) {
    if (name === metadataKey) problems.add(`a tensor cannot be named ${metadataKey}`);
    if (loneSurrogate.test(name)) problems.add(`the name ${quote(name)} has half of a surrogate pair`);
    if (!nameOfDtype.has(dtype)) problems.add(`tensor ${quote(name)} is ${dtype}, which safetensors does not have`);
    else if ((elementCount(shape) * bitsOf(dtype)) % 8 !== 0)
      problems.add(`tensor ${quote(name)} is ${dtype} of shape [${shape}], which fills no whole number of bytes`);
  }
  for (const [key, value] of metadata)
    if (loneSurrogate.test(key + value)) problems.add(`the metadata ${quote(key)} has half of a surrogate pair`);
  problems.throwIfAny('CONFIG_INVALID', 'The tensors cannot be written as safetensors');
}

/** Dtype rank descending, then name by UTF-8 bytes: wide types first, so that all data is aligned. */
const inFileOrder = <T extends Described>(tensors: ReadonlyMap<string, T>): [string, T][] =>
  [...tensors].sort(([a, x], [b, y]) => rankOfDtype.get(y.dtype)! - rankOfDtype.get(x.dtype)! || compareUtf8(a, b));

/** Length and JSON, padded with spaces so that the data begins at a multiple of 8. */
function encodeHeader(ordered: readonly [string, Described][], metadata: ReadonlyMap<string, string>): Uint8Array {
  const members: string[] = [];
  if (metadata.size > 0) {
    const pairs = [...metadata].sort(([a], [b]) => compareUtf8(a, b));
    members.push(
      `"${metadataKey}":{${pairs.map((pair) => pair.map((text) => JSON.stringify(text)).join(':')).join(',')}}`,
    );
  }
  let at = 0;
  for (const [name, { dtype, shape }] of ordered) {
    const end = at + byteLength(dtype, shape);
    const entry = { dtype: nameOfDtype.get(dtype), shape, data_offsets: [at, end] };
    members.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
    at = end;
  }
  const text = new TextEncoder().encode(`{${members.join(',')}}`);
  const length = Math.ceil(text.length / lengthBytes) * lengthBytes;
  if (length > maxHeaderBytes)
    throw new PeftError('CONFIG_INVALID', `The header takes ${length} bytes; safetensors allows ${maxHeaderBytes}.`);
  const header = new Uint8Array(lengthBytes + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(text, lengthBytes);
  return header;
}

/** Where everything lies in a file that others fill: the header, and the byte at which each tensor begins. */
export interface FileLayout {
  readonly header: Uint8Array;
  readonly offsets: ReadonlyMap<string, number>;
  /** Bytes of the whole file. */
  readonly bytes: number;
}

/**
 * The file that `writeSafetensors` would write of such tensors, without their numbers.
 * @throws PeftError CONFIG_INVALID with everything that cannot be written.
 */
export function layoutSafetensors(
  tensors: ReadonlyMap<string, Described>,
  metadata: ReadonlyMap<string, string> = new Map(),
): FileLayout {
  checkWritable(tensors, metadata);
  const ordered = inFileOrder(tensors);
  const header = encodeHeader(ordered, metadata);
  const offsets = new Map<string, number>();
  let at = header.length;
  for (const [name, { dtype, shape }] of ordered) {
    offsets.set(name, at);
    at += byteLength(dtype, shape);
  }
  return { header, offsets, bytes: at };
}

/** The file in pieces: the header, then the tensors as they are read. */
async function* encode(
  tensors: ReadonlyMap<string, TensorRef>,
  { metadata = new Map(), signal }: WriteOptions,
): AsyncGenerator<Uint8Array> {
  checkWritable(tensors, metadata);
  const ordered = inFileOrder(tensors);
  yield encodeHeader(ordered, metadata);
  for (const [name, ref] of ordered) {
    let written = 0;
    for await (const piece of readInPieces(ref, signal ? { signal } : {})) {
      written += piece.data.byteLength;
      yield bytesOf(piece);
    }
    const expected = byteLength(ref.dtype, ref.shape);
    if (written !== expected)
      throw new PeftError('INTERNAL', `Tensor ${quote(name)} announced ${expected} bytes and gave ${written}.`);
  }
}

/**
 * Writes tensors as a safetensors file, streaming: memory holds one piece of one tensor at a time. The same tensors and
 * metadata always give the same bytes, those of the official writer. Written aside and renamed (see `writeFileAtomic`).
 * @throws PeftError CONFIG_INVALID with everything that cannot be written, FILE_UNWRITABLE.
 */
export const writeSafetensors = (
  path: string,
  tensors: ReadonlyMap<string, TensorRef>,
  options: WriteOptions = {},
): Promise<void> => writeFileAtomic(path, encode(tensors, options), options);

/** The same bytes in memory. */
export async function encodeSafetensors(
  tensors: ReadonlyMap<string, TensorRef>,
  options: WriteOptions = {},
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of encode(tensors, options)) pieces.push(piece);
  const whole = new Uint8Array(pieces.reduce((total, piece) => total + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
