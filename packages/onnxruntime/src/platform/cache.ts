import { createHash } from 'node:crypto';
import { realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { byteLength, bytesOf, cast, type DType, readInPieces, type TensorRef } from '@peftjs/core';
import { writeFileAtomic } from '@peftjs/core/files';

/**
 * A weight in another type as a file of its own, made once: named by where it came from (path, version and place in the
 * file), or by its content when it came from memory. Written whole or not at all, so it is never checked again.
 */
export async function cacheWeight(ref: TensorRef, dtype: DType, folder: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([ref.dtype, dtype, ref.shape]));
  if (ref.file) hash.update(await origin(ref.file));
  else for await (const piece of readInPieces(ref, { signal })) hash.update(bytesOf(piece));
  const path = join(folder, `${hash.digest('hex')}.bin`);
  const known = await stat(path).catch(() => undefined);
  if (known?.size !== byteLength(dtype, ref.shape)) await writeFileAtomic(path, pieces(ref, dtype, signal), { signal });
  return path;
}

async function origin({ path, offset, bytes }: NonNullable<TensorRef['file']>): Promise<string> {
  const real = await realpath(path);
  const { size, mtimeNs, ino } = await stat(real, { bigint: true });
  return JSON.stringify([real, `${size}:${mtimeNs}:${ino}`, offset, bytes]);
}

async function* pieces(ref: TensorRef, dtype: DType, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const piece of readInPieces(ref, { signal })) yield bytesOf(cast(piece, dtype));
}
