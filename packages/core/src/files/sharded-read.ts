import { platform } from '#platform';
import { isPeftError, PeftError, Problems } from '../errors.js';
import { byteLength } from '../tensor/dtype.js';
import type { TensorRef } from '../tensor/tensor.js';
import { isWithin } from './atomic.js';
import { quote } from './json-values.js';
import { openSafetensors, type ReadOptions, type WeightFile } from './safetensors-read.js';
import { readShardIndex, type ShardIndex } from './sharded-index.js';
import { type ByteSource, fileSource } from './source.js';

export interface OpenOptions extends ReadOptions {
  /** The name of the files: `NAME.safetensors` or `NAME.safetensors.index.json`. Default `model`. */
  readonly name?: string;
}

/** Far above the index of any model (a hundred thousand tensors take ten megabytes). */
const maxIndexBytes = 100_000_000;

/**
 * Whether a file found in a folder really lies there: a symbolic link may not lead out of it, except from a snapshot of
 * the Hugging Face cache (`REPOSITORY/snapshots/REVISION`) to the blobs of the same repository.
 */
async function staysInside(file: string, folder: string): Promise<boolean> {
  const home = await platform.realPath(folder);
  const real = await platform.realPath(file);
  const snapshots = platform.parent(home);
  const blobs = platform.resolve(platform.parent(snapshots), 'blobs');
  return isWithin(real, home) || (platform.base(snapshots) === 'snapshots' && isWithin(real, blobs));
}

/** A source of a file that was found in a folder. @throws PeftError FILE_INVALID when a link leads out of it. */
async function sourceInside(file: string, folder: string): Promise<ByteSource> {
  if (await staysInside(file, folder)) return fileSource(file);
  const remedy = 'replace the link by the file, or open the file by its own path';
  throw new PeftError('FILE_INVALID', `${file} is a symbolic link that leaves its folder: ${remedy}.`);
}

const problemsOf = (error: unknown): readonly string[] => {
  if (!isPeftError(error)) throw error;
  const { problems } = error.details;
  return Array.isArray(problems) ? problems.map(String) : [error.message];
};

/** Every shard the index names, opened; a shard that cannot be opened is a problem like any other. */
async function openShards(folder: string, index: ShardIndex, problems: Problems, options: ReadOptions) {
  const shards = new Map<string, WeightFile>();
  for (const file of new Set(index.weightMap.values())) {
    const path = platform.resolve(folder, file);
    if (!(await platform.entry(path))) {
      problems.add(`the shard ${quote(file)} is missing`);
      continue;
    }
    try {
      shards.set(file, await openSafetensors(await sourceInside(path, folder), options));
    } catch (error) {
      for (const problem of problemsOf(error)) problems.add(`the shard ${quote(file)}: ${problem}`);
    }
  }
  return shards;
}

/** Index and shards must say the same: every tensor exactly where the index has it, and no other. */
function checkShards({ weightMap }: ShardIndex, shards: ReadonlyMap<string, WeightFile>, problems: Problems): void {
  const found = new Map<string, string>();
  for (const [file, { tensors }] of shards)
    for (const name of tensors.keys()) {
      const first = found.get(name);
      if (first !== undefined) problems.add(`tensor ${quote(name)} lies in both ${quote(first)} and ${quote(file)}`);
      else if (!weightMap.has(name))
        problems.add(`tensor ${quote(name)} of the shard ${quote(file)} is not in the index`);
      found.set(name, first ?? file);
    }
  for (const [name, file] of weightMap)
    if (shards.has(file) && !shards.get(file)!.tensors.has(name))
      problems.add(`tensor ${quote(name)} is not in the shard ${quote(file)}, where the index has it`);
}

async function openIndexed(indexPath: string, options: ReadOptions): Promise<WeightFile> {
  const folder = platform.parent(platform.resolve(indexPath));
  const source = await sourceInside(platform.resolve(indexPath), folder);
  if (source.size > maxIndexBytes)
    throw new PeftError(
      'FILE_INVALID',
      `${source.name} has ${source.size} bytes; an index has at most ${maxIndexBytes}.`,
    );
  const index = readShardIndex(await source.read(0, source.size, options), source.name);
  const problems = new Problems();
  const shards = await openShards(folder, index, problems, options);
  checkShards(index, shards, problems);
  problems.throwIfAny('FILE_INVALID', `${source.name} and its shards do not fit`);

  const tensors = new Map<string, TensorRef>();
  for (const [name, file] of index.weightMap) tensors.set(name, shards.get(file)!.tensors.get(name)!);
  const warnings = [...index.warnings, ...[...shards.values()].flatMap((shard) => shard.warnings)];
  const bytes = [...tensors.values()].reduce((total, { dtype, shape }) => total + byteLength(dtype, shape), 0);
  if (index.totalSize !== undefined && index.totalSize !== bytes)
    warnings.push(`metadata.total_size is ${index.totalSize}, but the tensors take ${bytes} bytes`);
  return {
    metadata: new Map([...shards.values()].flatMap((shard) => [...shard.metadata])),
    tensors,
    warnings,
    close: async () => {
      await Promise.all([...shards.values()].map((shard) => shard.close()));
    },
  };
}

/**
 * Opens the weights of a model: a `.safetensors` file, an index of shards, or a folder that holds either (the single
 * file comes first, as in transformers).
 * @throws PeftError FILE_MISSING, FILE_INVALID with everything that is wrong with the index and all shards.
 */
export async function openWeights(path: string, options: OpenOptions = {}): Promise<WeightFile> {
  if ((await platform.entry(path))?.kind !== 'directory')
    return path.endsWith('.index.json') ? openIndexed(path, options) : openSafetensors(path, options);
  const name = options.name ?? 'model';
  const single = platform.resolve(path, `${name}.safetensors`);
  if (await platform.entry(single)) return openSafetensors(await sourceInside(single, path), options);
  const index = platform.resolve(path, `${name}.safetensors.index.json`);
  if (await platform.entry(index)) return openIndexed(index, options);
  const message = `${platform.resolve(path)} has neither ${name}.safetensors nor ${name}.safetensors.index.json.`;
  throw new PeftError('FILE_MISSING', message, { details: { path } });
}
