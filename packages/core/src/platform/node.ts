import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import { totalmem } from 'node:os';
import * as path from 'node:path';
import { PeftError } from '../errors.js';
import type { Entry, Platform, ReadHandle, WriteHandle } from './platform.js';

const codeOf = (error: unknown): string => String((error as NodeJS.ErrnoException).code ?? '');

/** Runs a file operation and gives its failure the code and the name of the path. */
async function reading<T>(file: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (cause) {
    const missing = ['ENOENT', 'ENOTDIR'].includes(codeOf(cause));
    const message = missing
      ? `${file} does not exist.`
      : `${file} cannot be opened (${codeOf(cause)}); check its permissions.`;
    throw new PeftError('FILE_MISSING', message, { cause, details: { path: file } });
  }
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission is denied',
  EBUSY: 'it is in use or a mount point; choose a folder inside it',
  EEXIST: 'it exists already',
  ENOSPC: 'the disk is full',
  ENOTEMPTY: 'it exists already',
  EPERM: 'permission is denied',
  EROFS: 'the disk is read-only',
  EXDEV: 'it is a mount point; choose a folder inside it',
};

async function writing<T>(file: string, operation: Promise<T>): Promise<T> {
  try {
    return await operation;
  } catch (cause) {
    const reason = reasons[codeOf(cause)] ?? (cause as Error).message;
    const details = { path: file, reason: codeOf(cause) };
    throw new PeftError('FILE_UNWRITABLE', `${file} cannot be written: ${reason}.`, { cause, details });
  }
}

async function entry(file: string): Promise<Entry | undefined> {
  try {
    const found = await fs.stat(file, { bigint: true });
    const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other';
    return { kind, bytes: Number(found.size), version: `${found.dev}:${found.ino}:${found.size}:${found.mtimeNs}` };
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error))) return undefined;
    return reading(file, Promise.reject(error));
  }
}

/** One system call reads less than 2 GiB. */
const maxRead = 2 ** 30;

async function open(file: string): Promise<ReadHandle> {
  const handle = await reading(file, fs.open(file, 'r'));
  return {
    async read(from, to) {
      const bytes = new Uint8Array(to - from);
      let done = 0;
      while (done < bytes.length) {
        const length = Math.min(maxRead, bytes.length - done);
        const { bytesRead } = await reading(file, handle.read(bytes, done, length, from + done));
        if (bytesRead === 0) return bytes.subarray(0, done);
        done += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}

async function create(file: string): Promise<WriteHandle> {
  const handle = await writing(file, fs.open(file, 'wx'));
  return {
    async write(bytes) {
      let done = 0;
      while (done < bytes.length) {
        const length = Math.min(maxRead, bytes.length - done);
        done += (await writing(file, handle.write(bytes, done, length))).bytesWritten;
      }
    },
    sync: () => writing(file, handle.sync()),
    close: () => handle.close(),
  };
}

async function link(from: string, to: string): Promise<void> {
  const found = await reading(from, fs.lstat(from));
  if (found.isDirectory()) {
    await writing(to, fs.mkdir(to));
    for (const name of await fs.readdir(from)) await link(path.join(from, name), path.join(to, name));
  } else if (found.isSymbolicLink()) {
    await writing(to, fs.symlink(await fs.readlink(from), to));
  } else {
    await fs.link(from, to).catch(() => writing(to, fs.copyFile(from, to))); // file systems without hard links
  }
}

/** What Windows answers when asked to open or sync a directory, or to sync a file opened for reading. */
const cannotSync = ['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'EBADF'];

async function sync(file: string): Promise<void> {
  const ignore = (error: unknown) => {
    if (!cannotSync.includes(codeOf(error))) return writing(file, Promise.reject(error));
    return undefined;
  };
  const handle = await fs.open(file, 'r').catch(ignore);
  if (!handle) return;
  try {
    await handle.sync().catch(ignore);
  } finally {
    await handle.close();
  }
}

export const platform: Platform = {
  name: 'node',
  resolve: (...parts) => path.resolve(...parts),
  parent: (file) => path.dirname(file),
  base: (file) => path.basename(file),
  workingDirectory: () => process.cwd(),
  entry,
  realPath: (file) => reading(file, fs.realpath(file)),
  list: async (file) => (await reading(file, fs.readdir(file))).sort(),
  open,
  create,
  makeDirectory: async (file) => {
    await writing(file, fs.mkdir(file, { recursive: true }));
  },
  link,
  rename: (from, to) => writing(to, fs.rename(from, to)),
  remove: (file) => writing(file, fs.rm(file, { recursive: true, force: true })),
  sync,
  memory: () => Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
  sha256: () => {
    const hash = createHash('sha256');
    return {
      update: (bytes) => {
        hash.update(bytes);
      },
      digest: async () => hash.digest(),
    };
  },
};
