import { realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, parse, relative, sep } from 'node:path';
import { byteLength, type DType, type Graph, type TensorRef } from '@peftjs/core';
import { cacheWeight } from './cache.js';
import type { Placement } from './platform.js';

/** Smaller weights that lie in no file of their own type go into the model's bytes: a file each is not worth it. */
const inlineBelow = 2 ** 16;

interface Mapped {
  readonly path: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * Finds or makes a file for every weight, so that the runtime maps it into memory instead of copying it: the user's own
 * file where the weight lies there in the type that the graph wants, else a file of the cache (f16 and bf16 bases
 * widened, big tensors that are only in memory). All sessions of a machine share these pages.
 */
export async function mapWeights(
  graph: Graph,
  { cacheDir = defaultCache(), signal }: { cacheDir?: string; signal?: AbortSignal },
): Promise<Placement> {
  const mapped = new Map<string, Mapped>();
  const rest: { name: string; ref: TensorRef; dtype: DType }[] = [];
  for (const [name, ref] of graph.weights) {
    const { dtype } = graph.values.get(name)!;
    const own = ref.file && ref.dtype === dtype && ref.file.bytes > 0 ? await ownFile(ref.file) : undefined;
    if (own) mapped.set(name, own);
    else if (byteLength(dtype, ref.shape) >= inlineBelow) rest.push({ name, ref, dtype });
  }
  for (const { name, ref, dtype } of rest) {
    const path = await realpath(await cacheWeight(ref, dtype, join(cacheDir, 'weights'), signal));
    mapped.set(name, { path, offset: 0, length: byteLength(dtype, ref.shape) });
  }
  return place(mapped);
}

/** Undefined when the file no longer holds the bytes; reading the reference then says what is wrong. */
async function ownFile({ path, offset, bytes }: NonNullable<TensorRef['file']>): Promise<Mapped | undefined> {
  const real = await realpath(path).catch(() => undefined);
  if (real === undefined || (await stat(real)).size < offset + bytes) return undefined;
  return { path: real, offset, length: bytes };
}

/**
 * The runtime takes one folder for all files of a session: the deepest that holds them all. Files on other drives than
 * most of them (Windows) are left to be copied.
 */
function place(mapped: ReadonlyMap<string, Mapped>): Placement {
  const bytes = new Map<string, number>();
  for (const { path, length } of mapped.values())
    bytes.set(parse(path).root, (bytes.get(parse(path).root) ?? 0) + length);
  const [root] = [...bytes].sort(([, a], [, b]) => b - a)[0] ?? [''];
  const near = [...mapped].filter(([, { path }]) => parse(path).root === root);
  if (near.length === 0) return { external: new Map() };
  const folder = near.map(([, { path }]) => parse(path).dir).reduce(commonFolder);
  const external = near.map(([name, { path, offset, length }]) => {
    const location = relative(folder, path).split(sep).join('/');
    return [name, { location, offset, length }] as const;
  });
  return { folder, external: new Map(external) };
}

function commonFolder(a: string, b: string): string {
  const { root } = parse(a);
  const [x, y] = [a.slice(root.length).split(sep), b.slice(root.length).split(sep)];
  const same = x.findIndex((part, i) => part !== y[i]);
  return root + x.slice(0, same < 0 ? x.length : same).join(sep);
}

function defaultCache(): string {
  const home = homedir();
  const folders: Partial<Record<NodeJS.Platform, string>> = {
    darwin: join(home, 'Library', 'Caches'),
    win32: process.env.LOCALAPPDATA ?? join(home, 'AppData', 'Local'),
  };
  return join(folders[process.platform] ?? process.env.XDG_CACHE_HOME ?? join(home, '.cache'), 'peftjs');
}
