export { onnxruntime } from './backend.js';
export type { Device, OnnxRuntimeOptions, RuntimeKind } from './options.js';
