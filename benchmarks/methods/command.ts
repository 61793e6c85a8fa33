/** `peft train` of a recipe, and what it says. */
import { fileURLToPath } from 'node:url';
import type { Recipe } from './recipes.js';

const peft = fileURLToPath(new URL('../peft.mjs', import.meta.url));

/** What a recipe asks of `peft train`. */
export const asked = ({ method, set, targetModules, lr }: Recipe): string[] => [
  ...['--method', method],
  ...Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`]),
  ...(targetModules ? ['--target-modules', targetModules] : []),
  ...['--lr', String(lr)],
];

/** The arguments of node: the recipe on a classifier over `model`, then `rest`. */
export const trainArguments = (model: string, recipe: Recipe, ...rest: readonly string[]): string[] => [
  peft,
  ...['train', '--model', model, '--task', 'sequence-classification', '--max-length', '128', '--json'],
  ...asked(recipe),
  ...rest,
];

/** What it says on the way: one line, one event. */
export const eventsOf = <T>(stdout: string): T[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
