export { decodeModel } from './decode.js';
export { type EncodeOptions, encodeModel } from './encode.js';
export type { External } from './external.js';
export type { WeightSources } from './initializer.js';
export { readModel } from './read-model.js';
export { onnxCode, onnxDType } from './types.js';
export { type WriteModelOptions, writeModel } from './write-model.js';
