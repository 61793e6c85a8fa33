import { platform } from '#platform';
import { PeftError } from '../errors.js';
import { isWithin } from './atomic.js';
import { type ByteSource, fileSource } from './source.js';

/** Files that belong together, by name: a folder, what a visitor chose in a page, what a server has. */
export interface FileSet {
  /** What messages call it. */
  readonly name: string;
  /** Undefined when there is no file of that name. */
  open(name: string): Promise<ByteSource | undefined>;
}

/**
 * Whether a file found in a folder really lies there: a symbolic link may not lead out of it, except from a snapshot of
 * the Hugging Face cache (`REPOSITORY/snapshots/REVISION`) to the blobs of the same repository.
 */
async function staysInside(file: string, folder: string): Promise<boolean> {
  const home = await platform.realPath(folder);
  const real = await platform.realPath(file);
  const snapshots = platform.parent(home);
  const blobs = platform.resolve(platform.parent(snapshots), 'blobs');
  return isWithin(real, home) || (platform.base(snapshots) === 'snapshots' && isWithin(real, blobs));
}

/** The files of a folder. @throws PeftError when one is opened: FILE_INVALID for a link that leads out of the folder */
export const folderFiles = (path: string): FileSet => ({
  name: platform.resolve(path),
  async open(name) {
    const file = platform.resolve(path, name);
    if (!(await platform.entry(file))) return undefined;
    if (await staysInside(file, path)) return fileSource(file);
    const remedy = 'replace the link by the file, or open the file by its own path';
    throw new PeftError('FILE_INVALID', `${file} is a symbolic link that leaves its folder: ${remedy}.`);
  },
});
