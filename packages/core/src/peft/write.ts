import { platform } from '#platform';
import type { Adapter } from '../delta/delta.js';
import { contentDigest } from '../delta/digest.js';
import { builtinKinds, type Kinds } from '../delta/registry.js';
import { PeftError } from '../errors.js';
import { writeDirectoryAtomic, writeFileAtomic } from '../files/atomic.js';
import { writeSafetensors } from '../files/safetensors-write.js';
import { configName, indexName, pickleName, sidecarName, weightsName } from './names.js';
import { builtinLayouts, type Layouts } from './registry.js';
import { sidecarOf } from './sidecar.js';

export interface WriteAdapterOptions {
  /** The file layout, by `peft_type`. Default: that of the files it was read from, else LORA. */
  readonly layout?: string;
  readonly layouts?: Layouts;
  readonly kinds?: Kinds;
  readonly signal?: AbortSignal;
}

/**
 * Writes an adapter so that PEFT loads it: configuration, tensors, and `peftjs.json` beside them. The folder is written
 * aside and renamed; other files in it (a README) stay.
 * @throws PeftError DELTA_CONFLICT when the layout cannot hold the adapter exactly, FILE_UNWRITABLE
 */
export async function writeAdapter(folder: string, adapter: Adapter, options: WriteAdapterOptions = {}): Promise<void> {
  const { layouts = builtinLayouts, kinds = builtinKinds, signal } = options;
  const type = options.layout ?? String(adapter.peft?.peft_type ?? 'LORA');
  const layout = layouts.get(type);
  if (!layout)
    throw new PeftError(
      'CONFIG_UNSUPPORTED',
      `No layout ${JSON.stringify(type)} is known here (known: ${[...layouts.keys()].join(', ')}).`,
    );
  const { config, tensors } = await layout.write(adapter, { kinds });
  // Reading back what was made: the digest beside it is that of the files, and nothing unreadable is ever written.
  const back = layout.read({ config, tensors, base: {}, subject: 'The adapter to be written', warn: () => {} });
  const sidecar = sidecarOf(adapter, await contentDigest(back));
  const replaced = new Set([configName, weightsName, indexName, pickleName, sidecarName]);
  await writeDirectoryAtomic(
    folder,
    async (aside) => {
      await writeFileAtomic(platform.resolve(aside, configName), json(Object.fromEntries(config)));
      const metadata = new Map([['format', 'pt']]);
      await writeSafetensors(platform.resolve(aside, weightsName), tensors, { metadata, ...(signal && { signal }) });
      await writeFileAtomic(platform.resolve(aside, sidecarName), json(sidecar));
    },
    { replaces: (name) => replaced.has(name) },
  );
}

const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
