export { type OnnxParameterOptions, onnxParameters, readOnnxAdapter } from './adapter.js';
export { type OnnxAdapterFile, openOnnxAdapter } from './read.js';
export { encodeOnnxAdapter, type OnnxAdapterContent } from './write.js';
