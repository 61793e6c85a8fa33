import { platform } from '#platform';
import { isPeftError, PeftError, Problems } from '../errors.js';
import { byteLength } from '../tensor/dtype.js';
import type { TensorRef } from '../tensor/tensor.js';
import { type FileSet, folderFiles } from './file-set.js';
import { quote } from './json-values.js';
import { openSafetensors, type ReadOptions, type WeightFile } from './safetensors-read.js';
import { readShardIndex, type ShardIndex } from './sharded-index.js';
import type { ByteSource } from './source.js';

export interface OpenOptions extends ReadOptions {
  /** The name of the files: `NAME.safetensors` or `NAME.safetensors.index.json`. Default `model`. */
  readonly name?: string;
}

/** Far above the index of any model (a hundred thousand tensors take ten megabytes). */
const maxIndexBytes = 100_000_000;

const problemsOf = (error: unknown): readonly string[] => {
  if (!isPeftError(error)) throw error;
  const { problems } = error.details;
  return Array.isArray(problems) ? problems.map(String) : [error.message];
};

/** Every shard the index names, opened; a shard that cannot be opened is a problem like any other. */
async function openShards(files: FileSet, index: ShardIndex, problems: Problems, options: ReadOptions) {
  const shards = new Map<string, WeightFile>();
  for (const file of new Set(index.weightMap.values())) {
    try {
      const source = await files.open(file);
      if (source) shards.set(file, await openSafetensors(source, options));
      else problems.add(`the shard ${quote(file)} is missing`);
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

async function openIndexed(files: FileSet, source: ByteSource, options: ReadOptions): Promise<WeightFile> {
  if (source.size > maxIndexBytes)
    throw new PeftError(
      'FILE_INVALID',
      `${source.name} has ${source.size} bytes; an index has at most ${maxIndexBytes}.`,
    );
  const index = readShardIndex(await source.read(0, source.size, options), source.name);
  const problems = new Problems();
  const shards = await openShards(files, index, problems, options);
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

/** The weights of a set of files: a single file comes first, as in transformers. */
async function openSet(files: FileSet, { name = 'model', ...options }: OpenOptions): Promise<WeightFile> {
  const single = await files.open(`${name}.safetensors`);
  if (single) return openSafetensors(single, options);
  const index = await files.open(`${name}.safetensors.index.json`);
  if (index) return openIndexed(files, index, options);
  const message = `${files.name} has neither ${name}.safetensors nor ${name}.safetensors.index.json.`;
  throw new PeftError('FILE_MISSING', message, { details: { path: files.name } });
}

/**
 * Opens the weights of a model: a `.safetensors` file, an index of shards, or a folder or set of files that holds
 * either.
 * @throws PeftError FILE_MISSING, FILE_INVALID with everything that is wrong with the index and all shards.
 */
export async function openWeights(input: string | FileSet, options: OpenOptions = {}): Promise<WeightFile> {
  if (typeof input !== 'string') return openSet(input, options);
  const path = platform.resolve(input);
  if ((await platform.entry(path))?.kind === 'directory') return openSet(folderFiles(path), options);
  if (!path.endsWith('.index.json')) return openSafetensors(path, options);
  const files = folderFiles(platform.parent(path));
  const index = await files.open(platform.base(path));
  if (index) return openIndexed(files, index, options);
  throw new PeftError('FILE_MISSING', `${path} does not exist.`, { details: { path } });
}
