import { isPeftError, PeftError } from '@peftjs/core';
import { fileSource, isJsonObject, parseJson, toPlain } from '@peftjs/core/files';

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

/** Text in UTF-8; undefined when the file does not exist. @throws PeftError FILE_INVALID for other bytes */
export async function readTextFile(path: string): Promise<string | undefined> {
  const bytes = await readBytes(path);
  if (!bytes) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new PeftError('FILE_INVALID', `${path} is not UTF-8 text.`, { cause, details: { path } });
  }
}

export const readText = (directory: string, name: string): Promise<string | undefined> =>
  readTextFile(`${directory}/${name}`);

/** A JSON file of a directory, strictly; undefined when it does not exist. @throws PeftError FILE_INVALID */
export async function readJsonValue(directory: string, name: string): Promise<unknown> {
  const bytes = await readBytes(`${directory}/${name}`);
  return bytes && toPlain(parseJson(bytes, { subject: name, maxKeys: 10_000_000 }));
}

/** A JSON file that holds an object; undefined when it does not exist. @throws PeftError FILE_INVALID */
export async function readJson(directory: string, name: string): Promise<Record<string, unknown> | undefined> {
  const bytes = await readBytes(`${directory}/${name}`);
  if (!bytes) return undefined;
  const value = parseJson(bytes, { subject: name, maxKeys: 10_000_000 });
  if (isJsonObject(value)) return toPlain(value) as Record<string, unknown>;
  throw new PeftError('FILE_INVALID', `${directory}/${name} has to hold a JSON object.`, {
    details: { directory, name },
  });
}

/** The last part of a path. */
export const baseName = (path: string): string => path.replace(/[/\\]+$/, '').replace(/^.*[/\\]/, '') || path;
