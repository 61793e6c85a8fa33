import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type AnyCodec, PeftError } from '@peftjs/core';
import { fileSource } from '@peftjs/core/files';

/** What lies at a path, by what it begins with and not by its name; ONNX files begin with nothing of their own. */
export type Format = 'peft' | 'model' | 'gguf' | 'onnx-adapter' | 'onnx' | 'compressed' | 'tensors';

const starts: readonly (readonly [format: Format, at: number, text: string])[] = [
  ['gguf', 0, 'GGUF'],
  ['onnx-adapter', 4, 'TORT'],
];

/** @param codecs whose files are recognised as compressed ones @throws PeftError FILE_MISSING */
export async function formatOf(path: string, codecs: readonly AnyCodec[] = []): Promise<Format> {
  if (!existsSync(path)) throw new PeftError('FILE_MISSING', `There is nothing at ${path}.`, { details: { path } });
  if (statSync(path).isDirectory()) {
    if (existsSync(join(path, 'adapter_config.json'))) return 'peft';
    return existsSync(join(path, 'config.json')) ? 'model' : 'tensors';
  }
  const source = await fileSource(path);
  const head = Buffer.from(await source.read(0, Math.min(8, source.size))).toString('latin1');
  const found = starts.find(([, at, text]) => head.startsWith(text, at));
  if (found) return found[0];
  if (codecs.some(({ codec }) => codec.magic === head)) return 'compressed';
  if (path.endsWith('.onnx')) return 'onnx';
  return path.endsWith('.onnx_adapter') ? 'onnx-adapter' : path.endsWith('.gguf') ? 'gguf' : 'tensors';
}
