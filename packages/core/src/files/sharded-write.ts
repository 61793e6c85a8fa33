import { platform } from '#platform';
import { PeftError } from '../errors.js';
import { byteLength } from '../tensor/dtype.js';
import type { TensorRef } from '../tensor/tensor.js';
import { writeDirectoryAtomic, writeFileAtomic } from './atomic.js';
import { compareUtf8 } from './safetensors-format.js';
import {
  type Described,
  type FileLayout,
  layoutSafetensors,
  type WriteOptions,
  writeSafetensors,
} from './safetensors-write.js';

export interface WriteShardedOptions extends WriteOptions {
  /** Upper bound of the tensors' bytes in one file (a single tensor may exceed it). Default 5 GB, the hub's habit. */
  readonly maxShardBytes?: number;
  /** The name of the files, as in `openWeights`. Default `model`. */
  readonly name?: string;
  /** Writes what else belongs to the model into the new folder, before that takes the place of the old one. */
  readonly companions?: (directory: string) => Promise<void>;
}

const sizeOf = ({ dtype, shape }: Described): number => byteLength(dtype, shape);

/** Tensors in their order, a new shard where the next one would not fit. At least one shard. */
function split<T extends Described>(tensors: ReadonlyMap<string, T>, maxBytes: number): Map<string, T>[] {
  const shards: Map<string, T>[] = [new Map()];
  let used = 0;
  for (const [name, ref] of tensors) {
    const bytes = sizeOf(ref);
    if (used > 0 && used + bytes > maxBytes) {
      shards.push(new Map());
      used = 0;
    }
    shards.at(-1)!.set(name, ref);
    used += bytes;
  }
  return shards;
}

/** The index as transformers writes it: keys sorted, two spaces, a newline at the end. */
function encodeIndex(fileOf: ReadonlyMap<string, string>, totalSize: number): Uint8Array {
  const lines = [...fileOf]
    .sort(([a], [b]) => compareUtf8(a, b))
    .map(([name, file]) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`);
  const head = `{\n  "metadata": {\n    "total_size": ${totalSize}\n  },\n  "weight_map": {\n`;
  return new TextEncoder().encode(`${head}${lines.join(',\n')}\n  }\n}\n`);
}

/** Names of the files, each with its tensors, and the index where there is more than one. */
function arrange<T extends Described>(tensors: ReadonlyMap<string, T>, options: WriteShardedOptions) {
  const { maxShardBytes = 5e9, name: stem = 'model' } = options;
  if (!(maxShardBytes > 0))
    throw new PeftError('CONFIG_INVALID', `maxShardBytes is ${maxShardBytes}; it must be a positive number of bytes.`);
  const shards = split(tensors, maxShardBytes);
  if (shards.length === 1) return { files: [{ file: `${stem}.safetensors`, shard: shards[0]! }] };
  const number = (n: number) => String(n).padStart(5, '0');
  const files = shards.map((shard, i) => ({
    file: `${stem}-${number(i + 1)}-of-${number(shards.length)}.safetensors`,
    shard,
  }));
  const fileOf = new Map(files.flatMap(({ file, shard }) => [...shard.keys()].map((name) => [name, file] as const)));
  const totalSize = [...tensors.values()].reduce((total, ref) => total + sizeOf(ref), 0);
  return { files, index: { file: `${stem}.safetensors.index.json`, bytes: encodeIndex(fileOf, totalSize) } };
}

/** The files of a model that others fill. */
export interface ShardedLayout {
  readonly files: readonly (FileLayout & { readonly file: string })[];
  /** Present when there is more than one file. */
  readonly index?: { readonly file: string; readonly bytes: Uint8Array };
}

/** The files that `writeSharded` would write of such tensors, without their numbers. @throws PeftError CONFIG_INVALID */
export function layoutSharded(
  tensors: ReadonlyMap<string, Described>,
  options: WriteShardedOptions = {},
): ShardedLayout {
  const { files, index } = arrange(tensors, options);
  const laid = files.map(({ file, shard }) => ({ file, ...layoutSafetensors(shard, options.metadata) }));
  return { files: laid, ...(index && { index }) };
}

/** Whether a file of a folder holds weights of this name, or their index: what new weights replace. */
export const isWeightFile = (file: string, stem = 'model'): boolean =>
  file === `${stem}.safetensors` ||
  file === `${stem}.safetensors.index.json` ||
  (file.startsWith(`${stem}-`) && /^\d{5}-of-\d{5}\.safetensors$/.test(file.slice(stem.length + 1)));

async function fill(
  directory: string,
  tensors: ReadonlyMap<string, TensorRef>,
  options: WriteShardedOptions,
): Promise<void> {
  const { files, index } = arrange(tensors, options);
  for (const { file, shard } of files) await writeSafetensors(platform.resolve(directory, file), shard, options);
  if (index) await writeFileAtomic(platform.resolve(directory, index.file), index.bytes);
  await options.companions?.(directory);
}

/**
 * Writes the weights of a model into a folder, as one file or, above `maxShardBytes`, as shards with an index. The
 * folder changes as a whole; weights of the same name that lie there are replaced, other files stay.
 * @throws PeftError CONFIG_INVALID, FILE_UNWRITABLE, and whatever `companions` throws.
 */
export async function writeSharded(
  directory: string,
  tensors: ReadonlyMap<string, TensorRef>,
  options: WriteShardedOptions = {},
): Promise<void> {
  const replaces = (file: string): boolean => isWeightFile(file, options.name);
  await writeDirectoryAtomic(directory, (aside) => fill(aside, tensors, options), { replaces });
}
