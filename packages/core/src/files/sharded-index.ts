import { Problems } from '../errors.js';
import { describeJson, isJsonObject, type JsonObject, jsonInteger, quote } from './json-values.js';
import { parseJson } from './strict-json.js';

export interface ShardIndex {
  /** Tensor name -> file name, plain and in the index's own folder. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** Bytes of all tensors; undefined when the index does not say. */
  readonly totalSize: number | undefined;
  readonly warnings: readonly string[];
}

/** What is wrong with the name of a shard as a plain file name on any system; undefined when nothing is. */
export function shardNameProblem(name: string): string | undefined {
  if (/[\\/:]/.test(name)) return 'is a path or an address; only files of the same folder are read';
  if (/\p{Cc}/u.test(name)) return 'has a control character';
  if (!name.endsWith('.safetensors') || name.startsWith('.')) return 'is not the name of a safetensors file';
  return undefined;
}

function readTotalSize(metadata: JsonObject, warnings: string[]): number | undefined {
  if (!metadata.has('total_size')) return undefined;
  const totalSize = jsonInteger(metadata.get('total_size'));
  if (totalSize === undefined)
    warnings.push(`metadata.total_size is ${describeJson(metadata.get('total_size'))}, not a plain integer`);
  return totalSize;
}

/**
 * Reads `model.safetensors.index.json`.
 * @throws PeftError FILE_INVALID with everything that is wrong.
 */
export function readShardIndex(bytes: Uint8Array, subject: string): ShardIndex {
  const json = parseJson(bytes, { subject });
  const problems = new Problems();
  const warnings: string[] = [];
  const weightMap = new Map<string, string>();
  const object = isJsonObject(json) ? json : undefined;
  const map = object?.get('weight_map');
  if (!object) problems.add(`it is ${describeJson(json)}; it must be an object`);
  else if (!isJsonObject(map)) problems.add(`weight_map is ${describeJson(map)}; it must be an object of file names`);
  else if (map.size === 0) problems.add('weight_map is empty; it must name a file for every tensor');
  const wrongFiles = new Map<string, string>();
  for (const [name, file] of isJsonObject(map) ? map : []) {
    if (typeof file !== 'string')
      problems.add(`weight_map has ${describeJson(file)} for ${quote(name)}; it must be a file name`);
    else {
      const problem = shardNameProblem(file);
      if (problem) wrongFiles.set(file, problem);
      else weightMap.set(name, file);
    }
  }
  for (const [file, problem] of wrongFiles) problems.add(`the shard ${quote(file)} ${problem}`);
  problems.throwIfAny('FILE_INVALID', `${subject} is not a valid index of shards`);
  const metadata = object?.get('metadata');
  return { weightMap, totalSize: isJsonObject(metadata) ? readTotalSize(metadata, warnings) : undefined, warnings };
}
