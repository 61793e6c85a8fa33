import { PeftError } from '../errors.js';
import type { ByteSource } from './source.js';

export interface HttpOptions {
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Default: the global fetch. */
  readonly fetch?: typeof fetch;
}

interface Part {
  readonly bytes: Uint8Array;
  readonly total: number;
  readonly tag: string | null;
}

/** One range request, checked: the server must answer with exactly the bytes asked for. */
async function request(url: string, from: number, to: number, options: HttpOptions): Promise<Part> {
  const fail = (problem: string, cause?: unknown): never => {
    throw new PeftError('FILE_INVALID', `${url} ${problem}`, { cause, details: { url, from, to } });
  };
  const headers = { ...options.headers, range: `bytes=${from}-${to - 1}` };
  const init: RequestInit = { headers, ...(options.signal ? { signal: options.signal } : {}) };
  const response = await (options.fetch ?? fetch)(url, init).catch((cause) => {
    if (options.signal?.aborted) throw cause;
    return fail('cannot be reached; check the address and the network.', cause);
  });
  if (response.status === 404 || response.status === 410)
    throw new PeftError('FILE_MISSING', `${url} does not exist (status ${response.status}).`, { details: { url } });
  if (response.status === 401 || response.status === 403)
    throw new PeftError(
      'FILE_MISSING',
      `${url} may not be read (status ${response.status}); pass an authorization header.`,
    );
  if (response.status !== 206) {
    await response.body?.cancel();
    const remedy = 'download it and open the file, or use a server that serves ranges';
    return fail(`answered a range request with status ${response.status} instead of 206; ${remedy}.`);
  }
  const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get('content-range') ?? '');
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (!range || Number(range[1]) !== from || Number(range[2]) !== to - 1 || bytes.length !== to - from)
    return fail(`answered a request for bytes ${from} to ${to} with other bytes.`);
  return { bytes, total: Number(range[3]), tag: response.headers.get('etag') };
}

/**
 * A resource of a server that serves ranges (the Hugging Face hub and every object store does).
 * @throws PeftError FILE_MISSING (404, 403), FILE_INVALID when the server does not serve ranges or is unreachable.
 */
export async function httpSource(url: string, options: HttpOptions = {}): Promise<ByteSource> {
  const { total, tag } = await request(url, 0, 1, options);
  let closed = false;
  return {
    size: total,
    name: url,
    async read(from, to, { signal } = {}) {
      if (closed) throw new PeftError('CONFIG_INVALID', `${url} has been closed; open it again to read more.`);
      if (!(from >= 0 && from <= to && to <= total))
        throw new PeftError('FILE_INVALID', `${url} has ${total} bytes; bytes ${from} to ${to} were asked for.`);
      if (from === to) return new Uint8Array(0);
      const part = await request(url, from, to, { ...options, ...(signal ? { signal } : {}) });
      if (part.total !== total || part.tag !== tag)
        throw new PeftError('FILE_INVALID', `${url} has changed since it was opened; open it again.`);
      return part.bytes;
    },
    async close() {
      closed = true;
    },
  };
}
