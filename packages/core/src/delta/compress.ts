import { PeftError, Problems } from '../errors.js';
import { writeFileAtomic } from '../files/atomic.js';
import { quote } from '../files/json-values.js';
import { type ByteSource, fileSource } from '../files/source.js';
import { createRun, type Run } from '../run.js';
import { elementCount } from '../tensor/dtype.js';
import { type AnyCodec, type BoundCodec, type Codec, type CompressEvent, requireCodec } from './codec.js';
import { decodeFrame, encodeFrame } from './codec-frame.js';
import type { Adapter, Delta } from './delta.js';
import { contentDigest } from './digest.js';
import { builtinKinds, type Kinds } from './registry.js';
import { requireStamp } from './stamp.js';

/** An adapter in the terms of a codec, and the figures of its file. */
export interface CompressedFile {
  readonly adapter: Adapter;
  /** The codec's name. */
  readonly codec: string;
  /** Bytes of the file. */
  readonly bytes: number;
  /** Bytes of the same numbers as dense float16 tensors, by `bytes`; replaced parameters count on both sides. */
  readonly ratio: number;
  /** Part of the compressed numbers that is not zero. */
  readonly density: number;
}

/** The same with the file's bytes, in pieces. */
export interface Compressed extends CompressedFile {
  readonly pieces: readonly Uint8Array[];
}

export interface CompressOptions {
  /** Kinds of the terms that are compressed. */
  readonly kinds?: Kinds;
  readonly signal?: AbortSignal;
}

/**
 * Compresses an adapter, or a delta alone.
 * @throws PeftError PLUGIN_INCOMPATIBLE, CONFIG_UNSUPPORTED for kinds nobody gave, DELTA_CONFLICT when the codec refuses
 *   what it cannot hold
 */
export function compress(
  bound: BoundCodec,
  input: Adapter | Delta,
  options: CompressOptions = {},
): Run<CompressEvent, Compressed> {
  const { kinds = builtinKinds } = options;
  requireStamp(bound, 'bound-codec', 'v1', `The codec "${bound?.codec?.name ?? String(bound)}"`);
  const { codec, config: c } = bound;
  const adapter = 'delta' in input ? input : { delta: input, replaced: new Map(), digest: '' };
  async function* work(signal: AbortSignal): AsyncGenerator<CompressEvent, Compressed, void> {
    const delta = yield* codec.compress({ delta: adapter.delta, c, kinds, signal });
    const content = { delta, replaced: adapter.replaced };
    return packCompressed(codec, { ...adapter, ...content, digest: await contentDigest(content) });
  }
  return createRun(work, options.signal);
}

/**
 * The file of an adapter whose terms are the codec's own already, such as a merge of compressed ones. Exact.
 * @throws PeftError DELTA_CONFLICT for terms of other kinds, and for replaced parameters where the codec refuses them
 */
export async function packCompressed(codec: Codec, adapter: Adapter): Promise<Compressed> {
  requireCodec(codec);
  const { delta, replaced, digest: _, ...about } = adapter;
  if (codec.replaced === 'refuse' && replaced.size > 0)
    throw new PeftError(
      'DELTA_CONFLICT',
      `Files of ${codec.name} hold no parameters that are saved in full: ${[...replaced.keys()].map(quote).join(', ')}. Save those apart.`,
      { details: { replaced: [...replaced.keys()] } },
    );
  const pieces = await encodeFrame(codec.magic, { packed: await codec.encode(delta), replaced, about });
  const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
  return { ...(await figures(codec, adapter, bytes)), pieces };
}

async function figures(codec: Codec, adapter: Adapter, bytes: number): Promise<CompressedFile> {
  const { elements, survivors } = await codec.measure(adapter.delta);
  const kept = [...adapter.replaced.values()].reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const density = elements > 0 ? survivors / elements : 0;
  return { adapter, codec: codec.name, bytes, ratio: (2 * (elements + kept)) / bytes, density };
}

/** Writes a compressed file, aside and renamed. @throws PeftError FILE_UNWRITABLE */
export const writeCompressed = (
  path: string,
  { pieces }: Compressed,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> => writeFileAtomic(path, pieces, options);

export interface ReadCompressedOptions {
  readonly codecs: readonly AnyCodec[];
  readonly signal?: AbortSignal;
}

/**
 * Reads a compressed file; its first eight bytes say which codec wrote it.
 * @throws PeftError FILE_MISSING, FILE_INVALID, CONFIG_UNSUPPORTED for a file of a codec that was not given
 */
export async function readCompressed(
  input: string | ByteSource,
  { codecs, signal }: ReadCompressedOptions,
): Promise<CompressedFile> {
  const source = typeof input === 'string' ? await fileSource(input) : input;
  const codec = codecOf(await magicOf(source, signal), codecs, source.name);
  const { packed, replaced, about } = await decodeFrame(source, signal);
  const delta = await codec.decode(packed, source.name);
  const problems = new Problems();
  for (const path of replaced.keys())
    if (delta.params.has(path)) problems.add(`${quote(path)} is replaced in full and changed.`);
  problems.throwIfAny('FILE_INVALID', source.name);
  const content = { delta, replaced };
  return figures(codec, { ...content, ...about, digest: await contentDigest(content) }, source.size);
}

/** The same update in core's own kinds, for formats that know no others (`writeAdapter`). */
export async function decompress(
  { adapter, codec: name }: CompressedFile,
  { codecs }: { readonly codecs: readonly AnyCodec[] },
): Promise<Adapter> {
  const found = codecs.find(({ codec }) => codec.name === name);
  if (!found) throw new PeftError('CONFIG_UNSUPPORTED', `No codec ${quote(name)} was given${knownAs(codecs)}.`);
  const content = { delta: await found.codec.expand(adapter.delta), replaced: adapter.replaced };
  return { ...adapter, ...content, digest: await contentDigest(content) };
}

/** The first eight bytes as text: what `recognise`s a compressed file. Empty for a shorter one. */
async function magicOf(source: ByteSource, signal?: AbortSignal): Promise<string> {
  if (source.size < 8) return '';
  return String.fromCharCode(...(await source.read(0, 8, signal ? { signal } : {})));
}

function codecOf(magic: string, codecs: readonly AnyCodec[], name: string): Codec {
  const found = codecs.find(({ codec }) => codec.magic === magic);
  if (found) {
    requireCodec(found.codec);
    return found.codec;
  }
  throw new PeftError(
    'CONFIG_UNSUPPORTED',
    `${name} begins with ${quote(magic)}, which is no codec's mark${knownAs(codecs)}.`,
    { details: { magic, known: codecs.map(({ codec }) => codec.name) } },
  );
}

const knownAs = (codecs: readonly AnyCodec[]): string =>
  ` (known: ${codecs.map(({ codec }) => codec.name).join(', ') || 'none'})`;
