export * from './gguf/index.js';
export * from './layout.js';
export { loraFileNames } from './lora/config.js';
export { loraLayout } from './lora/layout.js';
export * from './onnx-adapter/index.js';
export * from './plugin.js';
export * from './read.js';
export * from './registry.js';
export * from './write.js';
