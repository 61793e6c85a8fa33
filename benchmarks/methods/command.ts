/** `peft train` of a recipe, and what it says. */
import { fileURLToPath } from 'node:url';
import type { Recipe } from './recipes.js';

const peft = fileURLToPath(new URL('../peft.mjs', import.meta.url));

/** The arguments of node: the recipe on a classifier over `model`, then `rest`. */
export const trainArguments = (model: string, recipe: Recipe, ...rest: readonly string[]): string[] => [
  peft,
  ...['train', '--model', model, '--task', 'sequence-classification', '--json', '--method', recipe.method],
  ...Object.entries(recipe.set).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
  ...(recipe.targetModules ? ['--target-modules', recipe.targetModules] : []),
  ...['--lr', String(recipe.lr), '--max-length', '128'],
  ...rest,
];

/** What it says on the way: one line, one event. */
export const eventsOf = <T>(stdout: string): T[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
