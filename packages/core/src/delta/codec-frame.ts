import * as z from 'zod';
import { PeftError, Problems } from '../errors.js';
import { sha256 } from '../files/digest.js';
import { isJsonObject, type JsonObject, quote, toPlain } from '../files/json-values.js';
import type { ByteSource } from '../files/source.js';
import { parseJson } from '../files/strict-json.js';
import { byteLength, bytesOf, dtypes, fromBytes } from '../tensor/dtype.js';
import { readInPieces, tensorRef } from '../tensor/refs.js';
import type { DType, TensorRef } from '../tensor/tensor.js';
import type { Packed } from './codec.js';
import { deflate, inflate } from './deflate.js';
import type { Adapter } from './delta.js';

/**
 * The frame of a compressed file: magic (8 bytes), checksum (the first 8 bytes of the SHA-256 of all that follows), the
 * header's bytes as stored and as text (two uint32, little-endian), the header (JSON, raw deflate), then the codec's
 * sections and the replaced parameters, one after the other with nothing between.
 */
const magicBytes = 8;
const checksumBytes = 8;
const lengthsAt = magicBytes + checksumBytes;
const headerAt = lengthsAt + 8;

/** More text than a header of a hundred thousand parameters has. */
const maxHeaderBytes = 2 ** 24;

/** What of an adapter is neither delta nor replaced parameters. */
export type About = Omit<Adapter, 'delta' | 'replaced' | 'digest'>;

export interface Framed {
  readonly packed: Packed;
  readonly replaced: ReadonlyMap<string, TensorRef>;
  readonly about: About;
}

const size = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER);
const Header = z.strictObject({
  codec: z.unknown(),
  sections: z.array(size),
  replaced: z.array(z.tuple([z.string(), z.enum(dtypes as readonly [DType, ...DType[]]), z.array(size)])).default([]),
  about: z
    .strictObject({
      base: z.strictObject({ name: z.string().optional(), digest: z.string().optional() }).optional(),
      method: z.strictObject({ name: z.string(), config: z.unknown() }).optional(),
      task: z.strictObject({ name: z.string(), labels: z.array(z.string()).optional() }).optional(),
      on: z.array(z.string()).optional(),
      peft: z.record(z.string(), z.unknown()).optional(),
    })
    .default({}),
});

/** The file in pieces. */
export async function encodeFrame(magic: string, { packed, replaced, about }: Framed): Promise<Uint8Array[]> {
  const kept = [...replaced].sort(([a], [b]) => (a < b ? -1 : 1));
  const data = [...packed.sections];
  for (const [, ref] of kept) for await (const piece of readInPieces(ref)) data.push(bytesOf(piece));
  const { base, method, task, on, peft } = about;
  const header = {
    shape: Object.fromEntries([...packed.shape].sort(([a], [b]) => (a < b ? -1 : 1))),
    codec: packed.header,
    sections: packed.sections.map(({ length }) => length),
    ...(kept.length > 0 && { replaced: kept.map(([path, { dtype, shape }]) => [path, dtype, shape]) }),
    about: {
      ...(base && { base }),
      ...(method && { method }),
      ...(task && { task }),
      ...(on && { on }),
      ...(peft && { peft: spoken(peft) }),
    },
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  if (text.length > maxHeaderBytes)
    throw new PeftError('CONFIG_INVALID', `The header takes ${text.length} bytes; the limit is ${maxHeaderBytes}.`);
  const stored = await deflate(text);
  const lengths = new Uint8Array(8);
  new DataView(lengths.buffer).setUint32(0, stored.length, true);
  new DataView(lengths.buffer).setUint32(4, text.length, true);
  const body = [lengths, stored, ...data];
  return [new TextEncoder().encode(magic), await checksum(body), ...body];
}

/** The keys that say something: null and the empty are what a reader takes for an absent key. */
const spoken = (config: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(config).filter(
      ([, value]) => value !== null && !(typeof value === 'object' && Object.keys(value as object).length === 0),
    ),
  );

/** @throws PeftError FILE_INVALID for anything but what `encodeFrame` writes, before anything large is allocated */
export async function decodeFrame(source: ByteSource, signal?: AbortSignal): Promise<Framed> {
  const options = signal ? { signal } : {};
  const fail = (problem: string): never => {
    throw new PeftError('FILE_INVALID', `${source.name} ${problem}. It is damaged or cut off: get it again.`);
  };
  if (source.size < headerAt) return fail(`has ${source.size} bytes, less than the frame of a compressed file`);
  const bytes = await source.read(0, source.size, options);
  const expected = bytes.subarray(magicBytes, lengthsAt);
  if (!sameBytes(await checksum([bytes.subarray(lengthsAt)]), expected)) return fail('does not have its checksum');
  const view = new DataView(bytes.buffer, bytes.byteOffset + lengthsAt, 8);
  const [stored, length] = [view.getUint32(0, true), view.getUint32(4, true)];
  if (length > maxHeaderBytes) return fail(`has a header of ${length} bytes; the limit is ${maxHeaderBytes}`);
  if (stored > bytes.length - headerAt) return fail(`has a header of ${stored} bytes, more than the file`);
  const text = await inflate(bytes.subarray(headerAt, headerAt + stored), length);
  if (!text) return fail('has a header that cannot be unpacked');
  const subject = `The header of ${source.name}`;
  const { shape, codec, sections, replaced, about } = readHeader(text, subject);
  const data = bytes.subarray(headerAt + stored);
  const { parts, refs } = cut(data, sections, replaced, source.name);
  return { packed: { shape, header: codec, sections: parts }, replaced: refs, about: about as About };
}

function readHeader(text: Uint8Array, subject: string) {
  const json = parseJson(text, { subject });
  if (!isJsonObject(json)) throw new PeftError('FILE_INVALID', `${subject} is no object.`);
  const { shape: _, ...rest } = toPlain(json) as Record<string, unknown>;
  const parsed = Header.safeParse(rest);
  const problems = new Problems();
  const shape = readShapes(json, problems);
  for (const { path, message } of parsed.error?.issues.slice(0, 20) ?? [])
    problems.add(`${path.join('.')}: ${message}`);
  problems.throwIfAny('FILE_INVALID', subject);
  return { shape, ...parsed.data! };
}

/** Shapes by path: a Map, because paths are a stranger's names. */
function readShapes(header: JsonObject, problems: Problems): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const given = header.get('shape');
  if (!isJsonObject(given)) problems.add('shape is no object');
  for (const [path, value] of isJsonObject(given) ? given : []) {
    const parsed = z.array(size).max(16).safeParse(toPlain(value));
    if (parsed.success && parsed.data.reduce((n, d) => n * d, 1) <= 2 ** 48) shapes.set(path, parsed.data);
    else if (problems.list.length < 20) problems.add(`${quote(path)} has no shape that can be`);
  }
  return shapes;
}

/** The data as sections and replaced parameters: every byte belongs to exactly one. */
function cut(
  data: Uint8Array,
  sections: readonly number[],
  replaced: readonly (readonly [string, DType, readonly number[]])[],
  name: string,
) {
  const sizes = [...sections, ...replaced.map(([, dtype, shape]) => bytesNeeded(dtype, shape))];
  const total = sizes.reduce((sum, length) => sum + length, 0);
  const paths = new Set(replaced.map(([path]) => path));
  const problems = new Problems();
  if (total !== data.length) problems.add(`its header speaks of ${total} bytes of data, it has ${data.length}.`);
  if (paths.size < replaced.length) problems.add('a parameter is replaced twice.');
  problems.throwIfAny('FILE_INVALID', name);
  let at = 0;
  const next = (length: number): Uint8Array => {
    at += length;
    return data.subarray(at - length, at);
  };
  const parts = sections.map(next);
  const refs = new Map(
    replaced.map(([path, dtype, shape], i) => [
      path,
      tensorRef(fromBytes(dtype, shape, next(sizes[sections.length + i]!))),
    ]),
  );
  return { parts, refs };
}

/** Infinity where the shape multiplies beyond any file. */
const bytesNeeded = (dtype: DType, shape: readonly number[]): number =>
  shape.reduce((n, d) => n * d, 1) <= 2 ** 48 ? byteLength(dtype, shape) : Number.POSITIVE_INFINITY;

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => a.every((byte, i) => byte === b[i]);

async function checksum(body: readonly Uint8Array[]): Promise<Uint8Array> {
  const hex = await sha256(body);
  return Uint8Array.from({ length: checksumBytes }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}
