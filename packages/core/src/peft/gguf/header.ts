import { Problems } from '../../errors.js';
import { recognise } from '../../files/recognise.js';
import { type Cursor, createCursor } from './cursor.js';
import {
  alignmentKey,
  alignUp,
  arrayCode,
  defaultAlignment,
  type GgmlType,
  type GgufValue,
  ggmlTypes,
  magic,
  scalarBytes,
  scalarTypes,
  version,
} from './types.js';

/** A tensor as the header describes it: `shape` row-major, `offset` from the start of the file. */
export interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: GgmlType;
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly TensorInfo[];
}

/** Bytes that an entry takes at least: a pair has a key's length, a type and a byte; a tensor has four fields. */
const least = { pair: 13, tensor: 24 };
const maxAxes = 4;

/**
 * The header of a GGUF file, checked: nothing is made as large as a number in the file claims, and the data is laid out
 * exactly as ggml reads it (in order, aligned, without holes, overlaps or bytes behind it). Arrays of arrays are refused.
 * @param bytes the first ones of the file; `MoreBytes` is thrown when the header is longer
 * @throws PeftError FILE_INVALID with everything that is wrong
 */
export function readHeader(bytes: Uint8Array, size: number, subject: string): GgufHeader {
  const cursor = createCursor(bytes, size, subject);
  readPreamble(bytes, cursor);
  const tensorCount = cursor.count('the number of tensors', least.tensor);
  const metadata = readMetadata(cursor, cursor.count('the number of metadata pairs', least.pair));
  const alignment = readAlignment(metadata, cursor);
  const drafts = Array.from({ length: tensorCount }, (_, i) => readTensor(cursor, i));
  const tensors = place(drafts, alignUp(cursor.position, alignment), alignment, size, subject);
  return { metadata, tensors };
}

function readPreamble(bytes: Uint8Array, cursor: Cursor): void {
  const first = cursor.u32('the magic number');
  const found = String.fromCharCode(first & 255, (first >> 8) & 255, (first >> 16) & 255, first >>> 24);
  if (found !== magic)
    cursor.fail(`it is not a GGUF file. ${recognise(bytes) ?? 'It is of another format or damaged'}`);
  const given = cursor.u32('the version');
  if (given === version << 24) cursor.fail('it is big-endian; convert it to little-endian');
  if (given !== version && given !== 2) cursor.fail(`it is of version ${given}; 2 and ${version} are read`);
}

function readMetadata(cursor: Cursor, pairs: number): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < pairs; i++) {
    const key = cursor.text(`the key of metadata pair ${i}`);
    const shown = JSON.stringify(key.slice(0, 80));
    if (metadata.has(key)) cursor.fail(`the metadata has the key ${shown} twice`);
    metadata.set(key, readValue(cursor, shown));
  }
  return metadata;
}

function readValue(cursor: Cursor, key: string): GgufValue {
  const code = cursor.u32(`the type of ${key}`);
  if (code !== arrayCode) {
    const type = scalarTypes[code] ?? cursor.fail(`${key} has the unknown type ${code}`);
    return { type, value: cursor.scalar(type, key) };
  }
  const inner = cursor.u32(`the element type of ${key}`);
  if (inner === arrayCode) cursor.fail(`${key} is an array of arrays, which is not read`);
  const of = scalarTypes[inner] ?? cursor.fail(`${key} is an array of the unknown type ${inner}`);
  const length = cursor.count(`the length of the array ${key}`, scalarBytes[of]);
  return { type: 'array', of, value: Array.from({ length }, () => cursor.scalar(of, key)) };
}

function readAlignment(metadata: ReadonlyMap<string, GgufValue>, cursor: Cursor): number {
  const given = metadata.get(alignmentKey);
  if (given === undefined) return defaultAlignment;
  const { type, value } = given;
  if (type === 'u32' && typeof value === 'number' && value > 0 && (value & (value - 1)) === 0) return value;
  return cursor.fail(`${alignmentKey} is ${value} (${type}); a power of two as u32 is needed`);
}

type Draft = Omit<TensorInfo, 'offset'> & { readonly relative: bigint };

function readTensor(cursor: Cursor, at: number): Draft {
  const name = cursor.text(`the name of tensor ${at}`);
  const shown = `tensor ${JSON.stringify(name.slice(0, 80))}`;
  const axes = cursor.u32(`the axes of ${shown}`);
  if (axes > maxAxes) cursor.fail(`${shown} has ${axes} axes; ggml has at most ${maxAxes}`);
  const ne = Array.from({ length: axes }, () => cursor.u64(`the shape of ${shown}`)); // the fastest axis first
  const elements = ne.reduce((product, extent) => product * extent, 1n);
  if (elements > BigInt(Number.MAX_SAFE_INTEGER) || ne.some((extent) => extent > BigInt(Number.MAX_SAFE_INTEGER)))
    cursor.fail(`${shown} claims the shape [${ne.reverse()}]`);
  const shape = ne.map(Number).reverse();
  const code = cursor.u32(`the type of ${shown}`);
  const type = ggmlTypes.get(code) ?? cursor.fail(`${shown} has the unknown type ${code}`);
  const row = shape.at(-1) ?? 1;
  if (row % type.block !== 0)
    cursor.fail(`${shown} has rows of ${row} elements; ${type.name} stores ${type.block} together`);
  const bytes = (Number(elements) / type.block) * type.bytes;
  return { name, shape, type, bytes, relative: cursor.u64(`the offset of ${shown}`) };
}

/** Each tensor begins where the one before it ends, aligned; the last ends with the file. */
function place(drafts: readonly Draft[], start: number, alignment: number, size: number, subject: string) {
  const problems = new Problems();
  const names = new Set<string>();
  let at = start;
  const tensors = drafts.map(({ relative, ...draft }): TensorInfo => {
    const shown = `tensor ${JSON.stringify(draft.name.slice(0, 80))}`;
    if (names.has(draft.name)) problems.add(`it has ${shown} twice.`);
    names.add(draft.name);
    if (relative !== BigInt(at - start))
      problems.add(`${shown} lies at offset ${relative}; it belongs at ${at - start}, behind the one before it.`);
    const offset = at;
    if (offset + draft.bytes > size)
      problems.add(`${shown} ends at byte ${offset + draft.bytes}, the file at byte ${size}.`);
    at = alignUp(offset + draft.bytes, alignment);
    return { ...draft, offset };
  });
  if (problems.list.length === 0 && size > at) problems.add(`${size - at} bytes follow the last tensor.`);
  problems.throwIfAny('FILE_INVALID', `${subject} is not a valid GGUF file`);
  return tensors;
}
