import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs';
import { copyFile, cp, open, readdir, readFile, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { PeftError } from '@peftjs/core';
import { threadExecutor } from '../worker/client.js';
import type { Files, OpenFile } from './files.js';
import type { Platform } from './platform.js';

const codeOf = (error: unknown): string => String((error as NodeJS.ErrnoException).code ?? '');

function openFile(path: string, mode: 'read' | 'write'): OpenFile {
  const file = openSync(path, mode === 'read' ? 'r' : 'r+');
  return {
    read(into, at) {
      for (let done = 0; done < into.length; ) {
        const bytes = readSync(file, into, done, into.length - done, at + done);
        if (bytes === 0) throw new PeftError('FILE_INVALID', `${path} has become shorter since it was opened.`);
        done += bytes;
      }
    },
    write(bytes, at) {
      try {
        for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, at + done);
      } catch (cause) {
        throw new PeftError('FILE_UNWRITABLE', `${path} cannot be written (${codeOf(cause)}).`, { cause });
      }
    },
    close: () => closeSync(file),
  };
}

/** Configuration, tokenizer and licence of a model directory: what is not weights. */
const companion = /\.(json|txt|model|jinja|md)$|^(LICENSE|NOTICE)/i;
const weights = /\.index\.json$|^adapter_config\.json$|^peftjs/;
/** Modules of sentence-transformers lie in folders of their own: `1_Pooling`. */
const moduleFolder = /^\d+_\w+$/;

async function copyModelFiles(from: string, to: string, only?: RegExp): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (only && !only.test(entry.name)) continue;
    if (entry.isDirectory() && moduleFolder.test(entry.name)) await cp(source, target, { recursive: true });
    else if (!entry.isDirectory() && companion.test(entry.name) && !weights.test(entry.name) && !existsSync(target))
      await copyFile(source, target);
  }
}

const files: Files = {
  open: openFile,
  async create(path, head, bytes) {
    const file = await open(path, 'wx');
    try {
      await file.write(head, 0, head.length, 0);
      await file.truncate(bytes);
    } finally {
      await file.close();
    }
  },
  join,
  base: (path) => basename(path),
  async kind(path) {
    const found = await stat(path).catch(() => undefined);
    return found?.isDirectory() ? 'directory' : found?.isFile() ? 'file' : undefined;
  },
  readText: (path) =>
    readFile(path, 'utf8').catch((error: unknown) => {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }),
  copyModelFiles,
};

export const platform: Platform = {
  processors: availableParallelism(),
  files,
  ...(isMainThread && { startThreads: threadExecutor }),
};
