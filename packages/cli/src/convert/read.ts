import { type Adapter, openGguf, readGgufAdapter, readOnnxAdapter } from '@peftjs/core';
import { readAdapters } from '../adapters.js';
import { type Format, formatOf } from '../formats.js';
import type { Plugins } from '../plugins.js';
import { UsageError } from '../usage.js';
import { baseShape } from './base.js';

export interface AdapterInput {
  readonly path: string;
  readonly format: Format;
  readonly base: string | undefined;
  readonly plugins: Plugins;
  warn(message: string): void;
}

type Read = (input: AdapterInput) => Promise<Adapter>;

/** Formats that hold an adapter. */
const readers: Partial<Readonly<Record<Format, Read>>> = {
  async peft({ path, base, plugins, warn }) {
    const directory = base !== undefined && (await formatOf(base)) === 'model' ? base : undefined;
    return (await readAdapters([path], plugins, warn, directory))!;
  },
  async gguf({ path, base, warn }) {
    const architecture = (await openGguf(path)).metadata.get('general.architecture')?.value;
    const why = `the heads of a ${architecture} adapter are needed to read it`;
    return readGgufAdapter(path, { warn, base: await baseShape(base, why) });
  },
  'onnx-adapter': ({ path }) => readOnnxAdapter(path),
};

/** @throws UsageError for a path that holds no adapter */
export function readAnyAdapter(input: AdapterInput): Promise<Adapter> {
  const read = readers[input.format];
  if (read) return read(input);
  throw new UsageError([`${input.path} is no adapter (${Object.keys(readers).join(', ')}), but ${input.format}`]);
}
