export { type Attributes, attributesOf } from './attributes.js';
export * from './dim.js';
export { cloneGraph, promoteWeight, prune, replaceUses, sortNodes } from './edit.js';
export * from './graph.js';
export * from './onnx/index.js';
export type { ConvOptions } from './ops/convolution.js';
export { createOps, type Ops } from './ops.js';
export { optimize } from './passes/optimize.js';
