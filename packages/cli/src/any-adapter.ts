import {
  type Adapter,
  decompress,
  openGguf,
  readAdapter,
  readCompressed,
  readGgufAdapter,
  readOnnxAdapter,
} from '@peftjs/core';
import { baseShape } from './base-shape.js';
import { type Format, formatOf } from './formats.js';
import type { Plugins } from './plugins.js';
import { shapesOf } from './shapes.js';
import { UsageError } from './usage.js';

/** What reading an adapter may need beside its path. */
export interface ReadingOptions {
  readonly plugins: Pick<Plugins, 'codecs' | 'kinds' | 'layouts'>;
  /** The model that it belongs to: GGUF orders rows by its heads, and some layouts do not say the shapes of what they change. */
  readonly base?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  warn(message: string): void;
}

export interface AdapterInput extends ReadingOptions {
  readonly path: string;
  readonly format: Format;
}

type Read = (input: AdapterInput) => Promise<Adapter>;

/** Formats that hold an adapter. */
const readers: Partial<Readonly<Record<Format, Read>>> = {
  peft: ({ path, base, plugins: { layouts, kinds }, warn, signal }) =>
    readAdapter(path, { layouts, kinds, warn, ...shapesOf(base), ...(signal && { signal }) }),
  async gguf({ path, base, warn }) {
    const architecture = (await openGguf(path)).metadata.get('general.architecture')?.value;
    const why = `the heads of a ${architecture} adapter are needed to read it`;
    return readGgufAdapter(path, { warn, base: await baseShape(base, why) });
  },
  'onnx-adapter': ({ path }) => readOnnxAdapter(path),
  async compressed({ path, plugins: { codecs }, signal }) {
    return decompress(await readCompressed(path, { codecs, ...(signal && { signal }) }), { codecs });
  },
};

/** Whether what lies at a path is an adapter, in any format. @throws PeftError FILE_MISSING */
export async function isAdapter(path: string, { codecs }: Pick<Plugins, 'codecs'>): Promise<boolean> {
  return readers[await formatOf(path, codecs)] !== undefined;
}

/** An adapter of a format that is known. @throws UsageError for a path that holds no adapter */
export function readAdapterAs(input: AdapterInput): Promise<Adapter> {
  const read = readers[input.format];
  if (read) return read(input);
  throw new UsageError([`${input.path} is no adapter (${Object.keys(readers).join(', ')}), but ${input.format}`]);
}

/** An adapter in any format: PEFT's folder, a compressed file, .gguf or .onnx_adapter. @throws UsageError for anything else */
export const readAnyAdapter = async (path: string, options: ReadingOptions): Promise<Adapter> =>
  readAdapterAs({ path, ...options, format: await formatOf(path, options.plugins.codecs) });
