import { definePlugin } from '@peftjs/core';
import { builtinMerges } from './engine/builtin.js';

export { resolveMerge, settingsOfEach } from './config.js';
export * from './define.js';
export * from './define-merge.js';
export { uniformDraws } from './draws.js';
export { builtinMerges } from './engine/builtin.js';
export { MergeEvent } from './engine/events.js';
export { merge } from './engine/merge.js';
export type { MergeOptions, MergeResult, WeightedSource } from './engine/options.js';
export type { Source as MergeSource } from './engine/sources.js';
export { type InMemoryInputs, mergeTensors, type Tensors } from './in-memory.js';
export * from './lora/index.js';
export * from './methods/index.js';
export { methodNamed } from './recipe/dialect.js';
export { type Merges, mergeRecipe, type RecipeOptions } from './recipe/merge-recipe.js';
export { type ModelPath, type Recipe, readRecipe } from './recipe/recipe.js';
export { type Interference, type InterferenceReport, measureInterference } from './report/measure.js';
export { reportPage } from './report/page.js';
export { type Branches, chain, mergeBranches } from './soups/branches.js';
export { slopesFromScores } from './soups/differences.js';
export { type GreedyOptions, type GreedyResult, type GreedyStep, greedySoup } from './soups/greedy.js';
export { type LearnedSoup, type LearnedSoupOptions, learnedSoup, type SoupLoss } from './soups/learned.js';
export { type SparseSoupInputs, sparseSoup } from './soups/sparse.js';

export default /* @__PURE__ */ definePlugin({ spec: 'v1', name: '@peftjs/merge', merges: [...builtinMerges.values()] });
