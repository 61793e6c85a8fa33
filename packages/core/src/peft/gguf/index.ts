export { type ReadGgufAdapterOptions, readGgufAdapter } from './adapter-read.js';
export { type GgufAdapterOptions, ggufOfAdapter } from './adapter-write.js';
export { ggufArchitecture } from './names.js';
export type { HeadCounts } from './permute.js';
export { type GgufFile, type GgufTensor, openGguf } from './read.js';
export type { GgufScalar, GgufScalarType, GgufValue } from './types.js';
export { encodeGguf, type GgufContent, writeGguf } from './write.js';
