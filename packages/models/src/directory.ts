import { isPeftError, PeftError } from '@peftjs/core';
import { type FileSet, fileSource, isJsonObject, parseJson, toPlain } from '@peftjs/core/files';

/** The bytes of a file, at most the first `most`; undefined when it does not exist. */
export async function readBytes(path: string, most = Number.POSITIVE_INFINITY): Promise<Uint8Array | undefined> {
  try {
    const source = await fileSource(path);
    try {
      return await source.read(0, Math.min(most, source.size));
    } finally {
      await source.close();
    }
  } catch (error) {
    if (isPeftError(error) && error.code === 'FILE_MISSING') return undefined;
    throw error;
  }
}

/** The bytes of a file. @throws PeftError FILE_MISSING */
export async function readFileBytes(path: string): Promise<Uint8Array> {
  const bytes = await readBytes(path);
  if (bytes) return bytes;
  throw new PeftError('FILE_MISSING', `The file "${path}" does not exist.`, { details: { path } });
}

async function readNamed(files: string | FileSet, name: string): Promise<Uint8Array | undefined> {
  if (typeof files === 'string') return readBytes(`${files}/${name}`);
  const source = await files.open(name);
  return source?.read(0, source.size);
}

/** What messages call a directory or a set of files. */
export const nameOf = (files: string | FileSet): string => (typeof files === 'string' ? files : files.name);

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `${path} is not UTF-8 text.`, { cause, details: { path } });
  }
}

/** Text in UTF-8; undefined when the file does not exist. @throws PeftError FILE_INVALID for other bytes */
export async function readTextFile(path: string): Promise<string | undefined> {
  const bytes = await readBytes(path);
  return bytes && decode(bytes, path);
}

/** Text of a model's file; undefined when it does not exist. @throws PeftError FILE_INVALID for other bytes */
export async function readText(files: string | FileSet, name: string): Promise<string | undefined> {
  const bytes = await readNamed(files, name);
  return bytes && decode(bytes, `${nameOf(files)}/${name}`);
}

/** A model's JSON file, strictly; undefined when it does not exist. @throws PeftError FILE_INVALID */
export async function readJsonValue(files: string | FileSet, name: string): Promise<unknown> {
  const bytes = await readNamed(files, name);
  return bytes && toPlain(parseJson(bytes, { subject: name, maxKeys: 10_000_000 }));
}

/** A JSON file that holds an object; undefined when it does not exist. @throws PeftError FILE_INVALID */
export async function readJson(files: string | FileSet, name: string): Promise<Record<string, unknown> | undefined> {
  const bytes = await readNamed(files, name);
  if (!bytes) return undefined;
  const value = parseJson(bytes, { subject: name, maxKeys: 10_000_000 });
  if (isJsonObject(value)) return toPlain(value) as Record<string, unknown>;
  const directory = nameOf(files);
  throw new PeftError('FILE_INVALID', `${directory}/${name} has to hold a JSON object.`, {
    details: { directory, name },
  });
}

/** The last part of a path. */
export const baseName = (path: string): string => path.replace(/[/\\]+$/, '').replace(/^.*[/\\]/, '') || path;
