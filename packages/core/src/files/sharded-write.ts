import { platform } from '#platform';
import { PeftError } from '../errors.js';
import { byteLength } from '../tensor/dtype.js';
import type { TensorRef } from '../tensor/tensor.js';
import { writeDirectoryAtomic, writeFileAtomic } from './atomic.js';
import { compareUtf8 } from './safetensors-format.js';
import { type WriteOptions, writeSafetensors } from './safetensors-write.js';

export interface WriteShardedOptions extends WriteOptions {
  /** Upper bound of the tensors' bytes in one file (a single tensor may exceed it). Default 5 GB, the hub's habit. */
  readonly maxShardBytes?: number;
  /** The name of the files, as in `openWeights`. Default `model`. */
  readonly name?: string;
}

const sizeOf = ({ dtype, shape }: TensorRef): number => byteLength(dtype, shape);

/** Tensors in their order, a new shard where the next one would not fit. At least one shard. */
function split(tensors: ReadonlyMap<string, TensorRef>, maxBytes: number): Map<string, TensorRef>[] {
  const shards: Map<string, TensorRef>[] = [new Map()];
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

async function fill(
  directory: string,
  tensors: ReadonlyMap<string, TensorRef>,
  options: WriteShardedOptions,
): Promise<void> {
  const { maxShardBytes = 5e9, name: stem = 'model' } = options;
  const shards = split(tensors, maxShardBytes);
  if (shards.length === 1)
    return writeSafetensors(platform.resolve(directory, `${stem}.safetensors`), tensors, options);
  const number = (n: number) => String(n).padStart(5, '0');
  const fileOf = new Map<string, string>();
  for (const [i, shard] of shards.entries()) {
    const file = `${stem}-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(platform.resolve(directory, file), shard, options);
    for (const name of shard.keys()) fileOf.set(name, file);
  }
  const totalSize = [...tensors.values()].reduce((total, ref) => total + sizeOf(ref), 0);
  await writeFileAtomic(platform.resolve(directory, `${stem}.safetensors.index.json`), encodeIndex(fileOf, totalSize));
}

/**
 * Writes the weights of a model into a folder, as one file or, above `maxShardBytes`, as shards with an index. The
 * folder changes as a whole; weights of the same name that lie there are replaced, other files stay.
 * @throws PeftError CONFIG_INVALID, FILE_UNWRITABLE.
 */
export async function writeSharded(
  directory: string,
  tensors: ReadonlyMap<string, TensorRef>,
  options: WriteShardedOptions = {},
): Promise<void> {
  const { maxShardBytes = 5e9, name: stem = 'model' } = options;
  if (!(maxShardBytes > 0))
    throw new PeftError('CONFIG_INVALID', `maxShardBytes is ${maxShardBytes}; it must be a positive number of bytes.`);
  const replaces = (file: string): boolean =>
    file === `${stem}.safetensors` ||
    file === `${stem}.safetensors.index.json` ||
    (file.startsWith(`${stem}-`) && /^\d{5}-of-\d{5}\.safetensors$/.test(file.slice(stem.length + 1)));
  await writeDirectoryAtomic(directory, (aside) => fill(aside, tensors, options), { replaces });
}
