import { platform } from '#platform';
import { PeftError } from '../errors.js';

export type Content = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** A name beside `path` that nobody else uses; hidden, so that tools which list the folder pass over it. */
function beside(path: string, purpose: string): string {
  const mark = globalThis.crypto.randomUUID().slice(0, 8);
  return platform.resolve(platform.parent(path), `.${platform.base(path)}.${purpose}-${mark}`);
}

/** Where writing really goes: a symbolic link stays a link, and what it points to is replaced. */
async function destination(path: string): Promise<string> {
  const absolute = platform.resolve(path);
  return (await platform.entry(absolute)) ? platform.realPath(absolute) : absolute;
}

async function writeNew(path: string, content: Content, signal?: AbortSignal): Promise<void> {
  const file = await platform.create(path);
  try {
    for await (const bytes of content instanceof Uint8Array ? [content] : content) {
      signal?.throwIfAborted();
      await file.write(bytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * Writes a file so that its path names either the old content or the new, whole, even after a power cut: written aside
 * in the same folder (made when missing), synced, renamed. On any failure the old content stays and nothing is left.
 * @throws PeftError FILE_UNWRITABLE, and whatever `content` throws.
 */
export async function writeFileAtomic(
  path: string,
  content: Content,
  options: { signal?: AbortSignal } = {},
): Promise<void> {
  const target = await destination(path);
  if ((await platform.entry(target))?.kind === 'directory')
    throw new PeftError('FILE_UNWRITABLE', `${target} is a directory; a file cannot replace it.`);
  const folder = platform.parent(target);
  await platform.makeDirectory(folder);
  const aside = beside(target, 'new');
  try {
    await writeNew(aside, content, options.signal);
    await platform.rename(aside, target);
  } catch (error) {
    await platform.remove(aside);
    throw error;
  }
  await platform.sync(folder); // the new name
}

export interface DirectoryOptions {
  /**
   * Whether an entry of the present directory belongs to the content that is replaced and goes with it. Everything else
   * that is not written anew is carried over, so a folder never loses what somebody else put there. Default: none.
   */
  readonly replaces?: (name: string) => boolean;
}

/** Brings what the new directory lacks and should keep from the old one, by links where the file system has them. */
async function carryOver(from: string, to: string, replaces: (name: string) => boolean): Promise<void> {
  const written = new Set(await platform.list(to));
  for (const name of await platform.list(from))
    if (!written.has(name) && !replaces(name))
      await platform.link(platform.resolve(from, name), platform.resolve(to, name));
}

/** Everything in a directory is on the disk when this returns. */
async function syncTree(directory: string): Promise<void> {
  for (const name of await platform.list(directory)) {
    const path = platform.resolve(directory, name);
    const kind = (await platform.entry(path))?.kind;
    if (kind === 'directory') await syncTree(path);
    else if (kind === 'file') await platform.sync(path);
  }
  await platform.sync(directory);
}

/** Puts `aside` in the place of the directory `target`; if that fails, the old directory is put back. */
async function swap(aside: string, target: string): Promise<void> {
  const old = beside(target, 'old');
  await platform.rename(target, old);
  try {
    await platform.rename(aside, target);
  } catch (error) {
    await platform.rename(old, target);
    throw error;
  }
  await platform.remove(old);
}

/**
 * Writes a directory as a whole: `fill` writes into a new one beside it, which is synced and renamed into place. On any
 * failure the old directory stays as it was. A crash between the two renames of a swap leaves the old directory, whole,
 * beside the path as `.NAME.old-XXXXXXXX`.
 * @param fill gets the absolute path of an empty directory.
 * @throws PeftError FILE_UNWRITABLE, CONFIG_INVALID for the working directory itself, and whatever `fill` throws.
 */
export async function writeDirectoryAtomic<T>(
  path: string,
  fill: (directory: string) => Promise<T>,
  options: DirectoryOptions = {},
): Promise<T> {
  const target = await destination(path);
  const present = await platform.entry(target);
  if (present && present.kind !== 'directory')
    throw new PeftError('FILE_UNWRITABLE', `${target} is a file; a directory cannot replace it.`);
  if (present && isWithin(await platform.realPath(platform.workingDirectory()), target))
    throw new PeftError('CONFIG_INVALID', `${target} is the working directory or holds it; name a folder inside it.`);
  await platform.makeDirectory(platform.parent(target));
  const aside = beside(target, 'new');
  try {
    await platform.makeDirectory(aside);
    const result = await fill(aside);
    if (present) await carryOver(target, aside, options.replaces ?? (() => false));
    await syncTree(aside);
    if (present) await swap(aside, target);
    else await platform.rename(aside, target);
    await platform.sync(platform.parent(target)); // the new name
    return result;
  } catch (error) {
    await platform.remove(aside);
    throw error;
  }
}

/** Whether `path` is `folder` or lies in it; both absolute. */
export function isWithin(path: string, folder: string): boolean {
  for (let at = path; ; at = platform.parent(at)) {
    if (at === folder) return true;
    if (at === platform.parent(at)) return false;
  }
}
