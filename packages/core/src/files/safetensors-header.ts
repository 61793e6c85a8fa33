import { Problems } from '../errors.js';
import { bitsOf } from '../tensor/dtype.js';
import type { DType } from '../tensor/tensor.js';
import {
  describeJson,
  isJsonArray,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  jsonInteger,
  quote,
} from './json-values.js';
import { dtypeOfName, maxRank, maxTensors, metadataKey } from './safetensors-format.js';
import { parseJson } from './strict-json.js';

export interface HeaderEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Bytes `begin` (inclusive) to `end` (exclusive) of the data that follows the header. */
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: ReadonlyMap<string, string>;
  /** In the order of the data. */
  readonly entries: readonly HeaderEntry[];
  readonly warnings: readonly string[];
}

const fields = ['dtype', 'shape', 'data_offsets'] as const;

/** More than a person reads; a hostile file must not make a message of a hundred megabytes. */
const maxReported = 50;

function readMetadata(value: JsonValue | undefined, report: (problem: string) => void): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined) return metadata;
  if (!isJsonObject(value)) report(`${metadataKey} is ${describeJson(value)}; it must be an object of strings`);
  else
    for (const [key, text] of value) {
      if (typeof text === 'string') metadata.set(key, text);
      else report(`${metadataKey} has ${describeJson(text)} under ${quote(key)}; it must be a string`);
    }
  return metadata;
}

function readShape(value: JsonValue | undefined): readonly number[] | string {
  if (!isJsonArray(value)) return `has ${describeJson(value)} as shape; it must be an array of integers`;
  if (value.length > maxRank) return `has ${value.length} dimensions; at most ${maxRank} are read`;
  const sizes = value.map(jsonInteger);
  const wrong = sizes.indexOf(undefined);
  if (wrong < 0) return sizes as number[];
  return `has the size ${describeJson(value[wrong])} in its shape; it must be a plain integer from 0 to 2^53 - 1`;
}

function readOffsets(value: JsonValue | undefined, dataBytes: number): readonly [number, number] | string {
  if (!isJsonArray(value) || value.length !== 2)
    return `has ${isJsonArray(value) ? `${value.length} data_offsets` : `${describeJson(value)} as data_offsets`}; it must be two integers`;
  const [begin, end] = value.map(jsonInteger);
  if (begin === undefined || end === undefined)
    return `has the data_offsets ${value.map(describeJson).join(', ')}; they must be plain integers from 0 to 2^53 - 1`;
  if (begin > end) return `begins at byte ${begin} of the data and ends before it, at ${end}`;
  if (end > dataBytes)
    return `ends at byte ${end}, but the file has ${dataBytes} bytes of data: it is cut off or damaged, get it again`;
  return [begin, end];
}

/** The bytes a tensor takes, exactly: shapes of a stranger multiply beyond 2^53. Undefined when it is no whole byte. */
function exactBytes(dtype: DType, shape: readonly number[]): bigint | undefined {
  const bits = shape.reduce((product, size) => product * BigInt(size), BigInt(bitsOf(dtype)));
  return bits % 8n === 0n ? bits / 8n : undefined;
}

function readDtype(value: JsonValue | undefined): { readonly dtype: DType } | string {
  const dtype = typeof value === 'string' ? dtypeOfName.get(value) : undefined;
  return dtype ? { dtype } : `has the dtype ${describeJson(value)}; known are ${[...dtypeOfName.keys()].join(', ')}`;
}

/** One tensor, or everything that is wrong with it. */
function readEntry(name: string, value: JsonValue, dataBytes: number): HeaderEntry | string[] {
  if (!isJsonObject(value)) return [`is ${describeJson(value)}; it must be an object`];
  const unknown = [...value.keys()].filter((key) => !fields.some((field) => field === key));
  const extra = unknown.length > 0 ? [`has unknown fields: ${unknown.slice(0, 5).map(quote).join(', ')}`] : [];
  const dtype = readDtype(value.get('dtype'));
  const shape = readShape(value.get('shape'));
  const offsets = readOffsets(value.get('data_offsets'), dataBytes);
  if (typeof dtype === 'string' || typeof shape === 'string' || typeof offsets === 'string')
    return [...extra, ...[dtype, shape, offsets].filter((part) => typeof part === 'string')];
  const expected = exactBytes(dtype.dtype, shape);
  const [begin, end] = offsets;
  if (expected === undefined) extra.push(`is ${dtype.dtype} of shape [${shape}], which fills no whole number of bytes`);
  else if (expected !== BigInt(end - begin))
    extra.push(`is ${dtype.dtype} of shape [${shape}], which takes ${expected} bytes, but it has ${end - begin}`);
  return extra.length > 0 ? extra : { name, dtype: dtype.dtype, shape, begin, end };
}

/** The data must be covered from its first to its last byte, each byte by one tensor. `entries` are sorted. */
function checkLayout(entries: readonly HeaderEntry[], dataBytes: number, report: (problem: string) => void): void {
  let covered = 0;
  let previous = 'the header';
  for (const { name, begin, end } of entries) {
    if (begin > covered) report(`bytes ${covered} to ${begin} of the data, before ${quote(name)}, belong to no tensor`);
    if (begin < covered) report(`tensor ${quote(name)} begins at byte ${begin}, inside ${previous}`);
    if (end >= covered) previous = quote(name);
    covered = Math.max(covered, end);
  }
  if (covered < dataBytes) report(`the last ${dataBytes - covered} bytes of the file belong to no tensor`);
}

/** Names that would be dangerous as paths. Nothing here uses them so. */
const pathLike = /^(?:[\\/]|[A-Za-z]:[\\/])|(?:^|[\\/])\.\.(?:[\\/]|$)/;

function warningsOf(bytes: Uint8Array, entries: readonly HeaderEntry[]): string[] {
  const warnings: string[] = [];
  const padding = bytes.subarray(bytes.lastIndexOf(0x7d) + 1);
  if (padding.some((byte) => byte !== 0x20)) warnings.push('the header is padded with other white space than spaces');
  const names = entries.filter(({ name }) => pathLike.test(name)).map(({ name }) => quote(name));
  if (names.length > 0)
    warnings.push(`names of tensors look like paths; never use them as such: ${names.slice(0, 5).join(', ')}`);
  return warnings;
}

/**
 * The header of a safetensors file.
 * @param bytes the JSON, without the length in front. @param dataBytes bytes of the file after it.
 * @throws PeftError FILE_INVALID with everything that is wrong.
 */
export function readHeader(bytes: Uint8Array, dataBytes: number, subject: string): Header {
  const problems = new Problems();
  let unreported = 0;
  const report = (problem: string): void => {
    if (problems.list.length < maxReported) problems.add(problem);
    else unreported++;
  };
  // An entry is the second level and its shape the third: deeper values have no meaning.
  const json = parseJson(bytes, { subject: `The header of ${subject}`, maxDepth: 4, maxKeys: maxTensors + 1 });
  if (!isJsonObject(json)) report(`the header is ${describeJson(json)}; it must be an object`);
  else if (bytes[0] !== 0x7b) report('the header must begin with {, not with white space');
  const object: JsonObject = isJsonObject(json) ? json : new Map();
  const metadata = readMetadata(object.get(metadataKey), report);
  const entries: HeaderEntry[] = [];
  for (const [name, value] of object) {
    if (name === metadataKey) continue;
    const entry = readEntry(name, value, dataBytes);
    if (Array.isArray(entry)) for (const problem of entry) report(`tensor ${quote(name)} ${problem}`);
    else entries.push(entry as HeaderEntry);
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  if (problems.list.length === 0) checkLayout(entries, dataBytes, report); // else it would only repeat them
  if (unreported > 0) problems.add(`and ${unreported} more`);
  problems.throwIfAny('FILE_INVALID', `${subject} is not a valid safetensors file`);
  return { metadata, entries, warnings: warningsOf(bytes, entries) };
}
