import { platform } from '#platform';
import { PeftError } from '../errors.js';
import type { ReadHandle } from '../platform/platform.js';

/** Bytes that can be read in ranges: a file, a part of memory, a Blob, a resource of a server. */
export interface ByteSource {
  readonly size: number;
  /** Absolute, when the bytes lie in a file of this machine. */
  readonly path?: string;
  /** What messages call it. */
  readonly name: string;
  /**
   * Bytes `from` (inclusive) to `to` (exclusive).
   * @throws PeftError FILE_INVALID when there are fewer, or when the content has been replaced since it was opened.
   */
  read(from: number, to: number, options?: { signal?: AbortSignal }): Promise<Uint8Array>;
  /** Reads after it fail. */
  close(): Promise<void>;
}

/** @throws PeftError CONFIG_INVALID after close, FILE_INVALID for a range outside the content. */
function checkRange({ name, size }: { name: string; size: number }, from: number, to: number, closed: boolean): void {
  if (closed) throw new PeftError('CONFIG_INVALID', `${name} has been closed; open it again to read more.`);
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || from > to || to > size)
    throw new PeftError('FILE_INVALID', `${name} has ${size} bytes; bytes ${from} to ${to} were asked for.`);
}

/** Bytes in memory. What is read are views of them. */
export function memorySource(bytes: Uint8Array, name = 'The bytes in memory'): ByteSource {
  let closed = false;
  return {
    size: bytes.length,
    name,
    async read(from, to, options) {
      checkRange({ name, size: bytes.length }, from, to, closed);
      options?.signal?.throwIfAborted();
      return bytes.subarray(from, to);
    },
    async close() {
      closed = true;
    },
  };
}

/** A Blob: a file a visitor chose, a file of the origin-private file system, or a cached response. */
export function blobSource(blob: Blob, name = 'The blob'): ByteSource {
  let closed = false;
  return {
    size: blob.size,
    name,
    async read(from, to, options) {
      checkRange({ name, size: blob.size }, from, to, closed);
      options?.signal?.throwIfAborted();
      return new Uint8Array(await blob.slice(from, to).arrayBuffer());
    },
    async close() {
      closed = true;
    },
  };
}

/**
 * A file. It is held open only while it is read, so references to its tensors can live as long as their owner likes;
 * a file that was replaced or rewritten in between is noticed.
 * @throws PeftError FILE_MISSING, FILE_INVALID for what is not a regular file.
 */
export async function fileSource(path: string): Promise<ByteSource> {
  const absolute = platform.resolve(path);
  const opened = await platform.entry(absolute);
  if (!opened) throw new PeftError('FILE_MISSING', `${absolute} does not exist.`, { details: { path: absolute } });
  if (opened.kind !== 'file') {
    const kind = opened.kind === 'directory' ? 'a directory' : 'a device, pipe or socket';
    throw new PeftError('FILE_INVALID', `${absolute} is ${kind}, not a file.`, { details: { path: absolute } });
  }
  let closed = false;
  let readers = 0;
  let handle: Promise<ReadHandle> | undefined;

  async function openUnchanged(): Promise<ReadHandle> {
    const now = await platform.entry(absolute);
    if (now?.version !== opened!.version)
      throw new PeftError('FILE_INVALID', `${absolute} has changed since it was opened; open it again.`);
    return platform.open(absolute);
  }

  return {
    size: opened.bytes,
    path: absolute,
    name: absolute,
    async read(from, to, options) {
      checkRange({ name: absolute, size: opened.bytes }, from, to, closed);
      options?.signal?.throwIfAborted();
      readers++;
      handle ??= openUnchanged();
      const shared = handle;
      try {
        const bytes = await (await shared).read(from, to);
        if (bytes.length === to - from) return bytes;
        throw new PeftError('FILE_INVALID', `${absolute} has become shorter since it was opened; open it again.`);
      } finally {
        readers--;
        if (readers === 0) {
          handle = undefined;
          await shared.then((open) => open.close()).catch(() => {}); // a failure to open is thrown above
        }
      }
    },
    async close() {
      closed = true;
    },
  };
}
