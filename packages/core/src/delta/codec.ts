import * as z from 'zod';
import { PeftError } from '../errors.js';
import type { Delta, Kind } from './delta.js';
import type { Kinds } from './registry.js';
import { requireStamp, stamp } from './stamp.js';

const count = z.number().int().nonnegative();

/** Sent after every parameter that has been compressed. */
export const CompressTensorEvent = z.object({ type: z.literal('tensor'), path: z.string(), done: count, total: count });
export const CompressWarningEvent = z.object({ type: z.literal('warning'), message: z.string() });
export const CompressEvent = z.discriminatedUnion('type', [CompressTensorEvent, CompressWarningEvent]);
export type CompressEvent = z.output<typeof CompressEvent>;

export interface CompressInput<Config> {
  readonly delta: Delta;
  readonly c: Config;
  /** Kinds of the terms in `delta`. */
  readonly kinds: Kinds;
  readonly signal: AbortSignal;
}

/** What a codec puts into a file; paths and shapes, replaced parameters and the frame around them are core's. */
export interface Packed {
  /** The shapes of the delta, by path. */
  readonly shape: ReadonlyMap<string, readonly number[]>;
  /** Plain JSON: what the codec needs beside the shapes. After reading, objects have no prototype. */
  readonly header: unknown;
  /** Runs of bytes. Their lengths are kept, so they need no marks of their own. */
  readonly sections: readonly Uint8Array[];
}

/** Numbers that were compressed, and how many of them are not zero. */
export interface Measure {
  readonly elements: number;
  readonly survivors: number;
}

/** A way to make deltas small: a table of functions over plain data, as a method or a kind is. */
export interface Codec<Schema extends z.ZodType = z.ZodType> {
  readonly spec: 'v1';
  readonly name: string;
  readonly paper: string;
  readonly config: Schema;
  /** Eight ASCII characters that its files begin with; a new form of the file is a new magic. */
  readonly magic: string;
  /** The kinds of terms it makes. */
  readonly kinds: readonly Kind[];
  /** Whether parameters that an adapter saves in full are kept in the file as they are, or refused. */
  readonly replaced: 'keep' | 'refuse';
  /** Lossy: any delta in terms of the codec's own kinds. */
  compress(input: CompressInput<z.output<Schema>>): AsyncGenerator<CompressEvent, Delta, void>;
  measure(delta: Delta): Promise<Measure>;
  /** Exact: a delta of its own kinds as bytes. @throws PeftError DELTA_CONFLICT for terms of other kinds */
  encode(delta: Delta): Promise<Packed>;
  /** `decode(encode(d))` is d. Bytes are a stranger's. @throws PeftError FILE_INVALID */
  decode(packed: Packed, subject: string): Promise<Delta>;
  /** The same update in core's own kinds, for formats that know no others. */
  expand(delta: Delta): Promise<Delta>;
}

/** A codec with its configuration: what `compeft({ density: 0.1 })` gives and `compress` takes. */
export interface BoundCodec<Schema extends z.ZodType = z.ZodType> {
  readonly codec: Codec<Schema>;
  readonly config: z.output<Schema>;
}

export interface CodecFunction<Schema extends z.ZodType = z.ZodType> {
  /** @throws PeftError CONFIG_INVALID listing everything wrong with the options */
  (options?: z.input<Schema>): BoundCodec<Schema>;
  readonly codec: Codec<Schema>;
}

/** A codec whatever its options: what a package lists under `codecs`. */
export interface AnyCodec {
  (options?: never): BoundCodec;
  readonly codec: Codec;
}

/** A codec as a function of its options. The description itself is at `.codec`. */
export function defineCodec<Schema extends z.ZodType>(description: Codec<Schema>): CodecFunction<Schema> {
  if (!/^[\x21-\x7e]{8}$/.test(description.magic))
    throw new PeftError(
      'CONFIG_INVALID',
      `The magic of ${description.name} is ${JSON.stringify(description.magic)}: use eight ASCII characters.`,
    );
  const codec = stamp({ ...description }, 'codec', description.spec);
  const bind = (options?: z.input<Schema>): BoundCodec<Schema> =>
    stamp({ codec, config: configOf(codec, options ?? {}) }, 'bound-codec', codec.spec);
  return stamp(Object.assign(bind, { codec }), 'codec', codec.spec);
}

/** @throws PeftError PLUGIN_INCOMPATIBLE for anything but a codec of this contract */
export const requireCodec = (codec: Codec): void =>
  requireStamp(codec, 'codec', 'v1', `The codec "${codec?.name ?? String(codec)}"`);

function configOf<Schema extends z.ZodType>(codec: Codec<Schema>, options: unknown): z.output<Schema> {
  const parsed = codec.config.safeParse(options);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => [...path.map(String), message].join(': '));
  throw new PeftError('CONFIG_INVALID', `${codec.name}: ${problems.join('; ')}.`, {
    details: { codec: codec.name, problems },
  });
}
