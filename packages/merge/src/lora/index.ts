export type { BoundLoraMerge, LoraContext, LoraMerge, LoraMerged, LoraMergeFunction } from './define.js';
export { defineLoraMerge } from './define-merge.js';
export { type Keep, type Place, seeded } from './draws.js';
export { cat, sharedA, svd } from './exact.js';
export type { LoraInput, Weighted } from './inputs.js';
export { knots } from './knots.js';
export { type MergeAdaptersOptions, type MergedAdapters, mergeAdapters } from './merge.js';
export * from './peft.js';
export { type AnyLoraMerge, loraMerges } from './registry.js';
