// What `peft bench methods` and `peft bench method-steps` kept, in the form that pages show.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Recipe, recipes, type Task, tasks } from '../../benchmarks/methods/recipes.js';
import { isOf, keptRuns } from '../../benchmarks/methods/runs.js';

const results = fileURLToPath(new URL('../../benchmarks/results', import.meta.url));

/** The reports that a benchmark kept, the newest last. */
function reports<T>(benchmark: string): T[] {
  const file = join(results, `${benchmark}.json`);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as T[]) : [];
}

export const newest = <T>(benchmark: string): T | undefined => reports<T>(benchmark).at(-1);

/** A recipe on a data set: one accuracy for each seed. */
export interface Reached {
  readonly recipe: Recipe;
  readonly task: Task;
  readonly accuracy: readonly number[];
  readonly trainable: number;
  readonly savedBytes: number;
  /** What the method said at the end of a run. */
  readonly note: string | undefined;
}

/** A step of a recipe, alone and as a part of PyTorch's full fine-tuning in the same run. */
export interface Step {
  readonly recipe: string;
  readonly seconds: number;
  readonly anonymousBytes: number;
  readonly timeOfFull?: number;
  readonly memoryOfFull?: number;
}

/** What was reached with the recipes as they are now; runs of other recipes, data or epochs do not count. */
export function reached(): Reached[] {
  const runs = keptRuns();
  return tasks.flatMap((task) =>
    recipes.flatMap((recipe) => {
      const own = runs.filter((run) => isOf(run, recipe, task.name, task.epochs)).sort((a, b) => a.seed - b.seed);
      const [first] = own;
      if (!first) return [];
      const { trainable, savedBytes } = first;
      const note = own.findLast((run) => run.note !== undefined)?.note;
      return { recipe, task, accuracy: own.map((run) => run.accuracy), trainable, savedBytes, note };
    }),
  );
}

/** The newest figures of each recipe: a report may be of some recipes only. */
export function stepsSeen(): readonly Step[] {
  const all = reports<{ results: Step[] }>('method-steps').flatMap(({ results }) => results);
  return [...new Map(all.map((step) => [step.recipe, step])).values()];
}

/** The data set and how often a run saw it. */
export const passesOver = ({ name, epochs }: Task): string => `${name}, ${epochs} epoch${epochs === 1 ? '' : 's'}`;

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** A part as a percentage; nothing where it was not measured. */
export const percent = (part: number | undefined): string => (part === undefined ? '' : `${Math.round(100 * part)} %`);

/** Mean and half of the spread between seeds. */
export function withSpread(accuracy: readonly number[]): string {
  const spread = (Math.max(...accuracy) - Math.min(...accuracy)) / 2;
  return accuracy.length > 1 ? `${mean(accuracy).toFixed(3)} ± ${spread.toFixed(3)}` : accuracy[0]!.toFixed(3);
}
