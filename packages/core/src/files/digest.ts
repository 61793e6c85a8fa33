import { platform } from '#platform';
import { bytesOf } from '../tensor/dtype.js';
import { readInPieces } from '../tensor/refs.js';
import type { TensorRef } from '../tensor/tensor.js';
import type { Content } from './atomic.js';
import { compareUtf8 } from './safetensors-format.js';
import type { ByteSource } from './source.js';

type Signal = { readonly signal?: AbortSignal };

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** SHA-256 in lower-case hexadecimal. */
export async function sha256(content: Content | string, { signal }: Signal = {}): Promise<string> {
  const hash = platform.sha256();
  const whole = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  for await (const bytes of whole instanceof Uint8Array ? [whole] : whole) {
    signal?.throwIfAborted();
    hash.update(bytes);
  }
  return hexOf(await hash.digest());
}

const pieceBytes = 2 ** 24;

async function* piecesOf(source: ByteSource, options: Signal): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < source.size; from += pieceBytes)
    yield await source.read(from, Math.min(source.size, from + pieceBytes), options);
}

/** SHA-256 of all bytes of a source: what `sha256sum` prints for a file. */
export const digestSource = (source: ByteSource, options: Signal = {}): Promise<string> =>
  sha256(piecesOf(source, options), options);

async function* contentOf(ref: TensorRef, options: Signal): AsyncGenerator<Uint8Array> {
  for await (const piece of readInPieces(ref, { ...options, maxBytes: pieceBytes })) yield bytesOf(piece);
}

/** SHA-256 of a tensor's stored bytes, without dtype and shape. */
export const digestTensor = (ref: TensorRef, options: Signal = {}): Promise<string> =>
  sha256(contentOf(ref, options), options);

/**
 * The identity of a set of named tensors, whatever file or shards they lie in and in whatever order: SHA-256 over lines
 * of JSON, first the name of this scheme, then [name, dtype, shape, digest of the bytes] for each tensor in the order
 * of the names' UTF-8 bytes.
 */
export async function digestTensors(tensors: ReadonlyMap<string, TensorRef>, options: Signal = {}): Promise<string> {
  const lines = ['"peftjs tensors 1"'];
  for (const name of [...tensors.keys()].sort(compareUtf8)) {
    const ref = tensors.get(name)!;
    lines.push(JSON.stringify([name, ref.dtype, ref.shape, await digestTensor(ref, options)]));
  }
  return sha256(lines.map((line) => `${line}\n`).join(''), options);
}
