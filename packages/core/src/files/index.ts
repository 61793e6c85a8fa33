export { type Content, type DirectoryOptions, isWithin, writeDirectoryAtomic, writeFileAtomic } from './atomic.js';
export { digestSource, digestTensor, digestTensors, sha256 } from './digest.js';
export { type FileSet, folderFiles } from './file-set.js';
export { type HttpOptions, httpSource } from './http-source.js';
export {
  describeJson,
  isJsonArray,
  isJsonNumber,
  isJsonObject,
  type JsonNumber,
  type JsonObject,
  type JsonValue,
  jsonInteger,
  quote,
  toPlain,
} from './json-values.js';
export { listDirectory } from './list.js';
export { type NonFinite, nonFinite } from './non-finite.js';
export { recognise, recogniseBytes } from './recognise.js';
export { openSafetensors, type ReadOptions, type WeightFile } from './safetensors-read.js';
export {
  type Described,
  encodeSafetensors,
  type FileLayout,
  layoutSafetensors,
  type WriteOptions,
  writeSafetensors,
} from './safetensors-write.js';
export { readShardIndex, type ShardIndex, shardNameProblem } from './sharded-index.js';
export { type OpenOptions, openWeights } from './sharded-read.js';
export {
  isWeightFile,
  layoutSharded,
  type ShardedLayout,
  type WriteShardedOptions,
  writeSharded,
} from './sharded-write.js';
export { type ByteSource, blobSource, fileSource, memorySource } from './source.js';
export { type JsonOptions, parseJson } from './strict-json.js';
