import { platform } from '#platform';
import { type CompactReport, compact } from '../delta/compact.js';
import type { Adapter } from '../delta/delta.js';
import { contentDigest } from '../delta/digest.js';
import type { Orientation } from '../delta/factors.js';
import { builtinKinds, type Kinds } from '../delta/registry.js';
import { type Truncation, truncates } from '../delta/truncation.js';
import { isPeftError, PeftError, Problems } from '../errors.js';
import { writeDirectoryAtomic, writeFileAtomic } from '../files/atomic.js';
import { encodeSafetensors, writeSafetensors } from '../files/safetensors-write.js';
import type { BaseFacts, Layout, LayoutFiles } from './layout.js';
import { configName, indexName, pickleName, sidecarName, weightsName } from './names.js';
import { builtinLayouts, type Layouts } from './registry.js';
import { sidecarOf } from './sidecar.js';

/** With `rank` or `energy` any additive update is written, as the best low-rank approximation; see `compact`. */
export interface WriteAdapterOptions extends Truncation {
  /**
   * The file layout, by `peft_type`. Default: that of the files it was read from where it still holds it exactly, else the
   * first that does, in the order of `layouts`: those of PEFT, then PEFTJS, which holds everything and which PEFT cannot
   * read.
   */
  readonly layout?: string;
  readonly layouts?: Layouts;
  readonly kinds?: Kinds;
  /** The base it belongs to, which says how a parameter lies where the update does not, and what its modules are. */
  readonly base?: Pick<BaseFacts, 'targets'>;
  readonly signal?: AbortSignal;
}

export interface WrittenAdapter {
  /** The layout it was written in, by `peft_type`. */
  readonly layout: string;
  /** What was lost, by parameter. Absent when it was written exactly. */
  readonly truncation?: CompactReport;
}

/**
 * Writes an adapter so that PEFT loads it: configuration, tensors, and `peftjs.json` beside them. The folder is written
 * aside and renamed; other files in it (a README) stay. Exact unless `rank` or `energy` is given.
 * @throws PeftError DELTA_CONFLICT when the layout cannot hold the adapter exactly, FILE_UNWRITABLE
 */
export async function writeAdapter(
  folder: string,
  given: Adapter,
  options: WriteAdapterOptions = {},
): Promise<WrittenAdapter> {
  const { config, tensors, sidecar, written } = await encoded(given, options);
  const replaced = new Set([configName, weightsName, indexName, pickleName, sidecarName]);
  await writeDirectoryAtomic(
    folder,
    async (aside) => {
      await writeFileAtomic(platform.resolve(aside, configName), config);
      await writeSafetensors(platform.resolve(aside, weightsName), tensors, safetensorsOptions(options));
      await writeFileAtomic(platform.resolve(aside, sidecarName), sidecar);
    },
    { replaces: (name) => replaced.has(name) },
  );
  return written;
}

/**
 * The same files in memory, by name: for a page, which offers them to its visitor.
 * @throws PeftError DELTA_CONFLICT when the layout cannot hold the adapter exactly
 */
export async function encodeAdapter(
  given: Adapter,
  options: WriteAdapterOptions = {},
): Promise<WrittenAdapter & { readonly files: ReadonlyMap<string, Uint8Array> }> {
  const { config, tensors, sidecar, written } = await encoded(given, options);
  const files = new Map([
    [configName, config],
    [weightsName, await encodeSafetensors(tensors, safetensorsOptions(options))],
    [sidecarName, sidecar],
  ]);
  return { ...written, files };
}

const safetensorsOptions = ({ signal }: WriteAdapterOptions) => ({
  metadata: new Map([['format', 'pt']]),
  ...(signal && { signal }),
});

/** What the files of an adapter hold. */
async function encoded(given: Adapter, options: WriteAdapterOptions) {
  const { layouts = builtinLayouts, kinds = builtinKinds } = options;
  const { adapter, truncation } = await truncated(given, { ...options, kinds });
  const { layout, files } = await laidOut(adapter, { ...options, layouts, kinds });
  const { config, tensors, shapes } = files;
  // Reading back what was made: the digest beside it is that of the files, and nothing unreadable is ever written.
  const subject = 'The adapter to be written';
  const back = await layout.read({
    config,
    tensors,
    base: {},
    kinds,
    subject,
    warn: () => {},
    ...(shapes && { shapes: async () => shapes }),
  });
  const sidecar = sidecarOf(truncation ? withoutMethod(adapter) : adapter, await contentDigest(back), shapes);
  const written: WrittenAdapter = { layout: layout.peftType, ...(truncation && { truncation }) };
  return { config: json(Object.fromEntries(config)), tensors, sidecar: json(sidecar), written };
}

/** The layout that holds the adapter, with what it writes. */
async function laidOut(
  adapter: Adapter,
  { layout: wanted, layouts, kinds, base }: WriteAdapterOptions & { readonly layouts: Layouts; readonly kinds: Kinds },
): Promise<{ layout: Layout; files: LayoutFiles }> {
  const options = { kinds, ...(base && { base }) };
  if (wanted !== undefined) {
    const layout = layouts.get(wanted);
    if (layout) return { layout, files: await layout.write(adapter, options) };
    throw new PeftError(
      'CONFIG_UNSUPPORTED',
      `No layout ${JSON.stringify(wanted)} is known here (known: ${[...layouts.keys()].join(', ')}).`,
    );
  }
  const before = layouts.get(String(adapter.peft?.peft_type));
  const problems = new Problems();
  for (const layout of new Set([...(before ? [before] : []), ...layouts.values()])) {
    try {
      return { layout, files: await layout.write(adapter, options) };
    } catch (error) {
      if (!isPeftError(error) || error.code !== 'DELTA_CONFLICT') throw error;
      problems.add(error.message);
    }
  }
  problems.throwIfAny('DELTA_CONFLICT', 'No layout holds this adapter exactly');
  throw new PeftError('CONFIG_UNSUPPORTED', 'No layout was given to write an adapter in.');
}

async function truncated(
  adapter: Adapter,
  { base, layout: _, layouts: __, ...options }: WriteAdapterOptions,
): Promise<{ adapter: Adapter; truncation?: CompactReport }> {
  if (!truncates(options)) return { adapter };
  const orientation = (path: string): Orientation => {
    const target = base?.targets?.find((target) => `${target.path}.weight` === path);
    return { transposed: target?.kind === 'conv1d', embedding: target?.kind === 'embedding' };
  };
  const { delta, report } = await compact(adapter.delta, { ...options, orientation });
  return report.truncated.size === 0
    ? { adapter: { ...adapter, delta } }
    : { adapter: { ...adapter, delta }, truncation: report };
}

/** Its configuration describes factors that are no more. */
const withoutMethod = ({ method: _, ...rest }: Adapter): Adapter => rest;

const json = (value: unknown): Uint8Array => new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);
