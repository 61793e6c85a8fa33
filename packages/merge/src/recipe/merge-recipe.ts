import { PeftError, type Run } from '@peftjs/core';
import { platform } from '#platform';
import type { BoundMerge } from '../define.js';
import { builtinMerges } from '../engine/builtin.js';
import type { MergeEvent } from '../engine/events.js';
import { distinctNames } from '../engine/merge.js';
import type { MergeOptions, MergeResult } from '../engine/options.js';
import { runMerge } from '../engine/run-merge.js';
import { nameOf, type Source } from '../engine/sources.js';
import { arrangementOf, modelsOf } from './arrange.js';
import { recipeMethodNamed } from './dialect.js';
import type { ModelPath, Recipe } from './recipe.js';

/** Methods by name, as `builtinMerges`. */
export type Merges = ReadonlyMap<string, { readonly merge: unknown }>;

export interface RecipeOptions extends Omit<MergeOptions, 'base' | 'as' | 'rank' | 'energy'> {
  /** Methods that are known; default those of this package. */
  readonly merges?: Merges;
  /** Turns a path of the recipe into one of this machine. Default: as it stands. */
  readonly locate?: (path: string) => string;
}

/** @throws PeftError CONFIG_UNSUPPORTED naming the methods that are known */
function findMerge(recipe: Recipe, merges: Merges): BoundMerge {
  const { name, config } = recipeMethodNamed(recipe.method);
  const found = merges.get(name);
  // Options are checked tensor by tensor: only the recipe's parameters complete them.
  if (found) return { merge: found.merge as BoundMerge['merge'], config };
  throw new PeftError(
    'CONFIG_UNSUPPORTED',
    `There is no merge method ${JSON.stringify(recipe.method)}; known: ${[...merges.keys()].join(', ')}.`,
    { details: { method: recipe.method, known: [...merges.keys()] } },
  );
}

/** The directory of a tokenizer that is named; `union` asks only that all are the same, which is checked anyway. */
const tokenizerOf = ({ tokenizer }: Recipe, locate: (path: string) => string): string | undefined =>
  typeof tokenizer === 'object' ? locate(tokenizer.path) : undefined;

/**
 * Does what a mergekit recipe says (see `readRecipe`).
 * @throws PeftError as `merge`, CONFIG_UNSUPPORTED for a method or a key that is not known
 */
export function mergeRecipe(recipe: Recipe, options: RecipeOptions = {}): Run<MergeEvent, MergeResult> {
  const { merges = builtinMerges, locate = (path) => path, ...rest } = options;
  const bound = findMerge(recipe, merges);
  const sourceOf = ({ path, adapter }: ModelPath): Source =>
    adapter === undefined ? locate(path) : { model: locate(path), adapter: locate(adapter) };
  const models = modelsOf(recipe);
  const inputs = models.map(sourceOf);
  const names = distinctNames(inputs.map(nameOf));
  if (recipe.base?.adapter !== undefined)
    throw new PeftError('CONFIG_UNSUPPORTED', 'A base with an adapter is not done here: merge it into the base first.');
  const tokenizer = tokenizerOf(recipe, locate);
  if (tokenizer !== undefined && !platform.files)
    throw new PeftError('CONFIG_UNSUPPORTED', 'A page has no folders, so tokenizer_source has no meaning.');
  const outDtype = rest.outDtype ?? recipe.outDtype;
  return runMerge({
    ...rest,
    as: 'checkpoint',
    bound,
    ...(recipe.base && { base: locate(recipe.base.path) }),
    ...(outDtype && { outDtype }),
    ...(tokenizer !== undefined && { tokenizer }),
    sources: inputs.map((input, i) => ({ input, name: names[i]! })),
    arrangement: () => arrangementOf(recipe, bound.merge.base !== 'none'),
    record: { recipe, seed: rest.seed ?? 0 },
  });
}
