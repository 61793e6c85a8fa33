/** What was kept of the recipes as they are now, seeds together. */
import { mean } from '../measure.js';
import { kept } from '../report.js';
import { type Recipe, recipes, type Task, tasks } from './recipes.js';
import { isOf, keptRuns } from './runs.js';

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

/** What was reached; runs of other recipes, data or epochs do not count. */
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
  const all = kept<{ results: Step[] }>('method-steps').flatMap(({ results }) => results);
  return [...new Map(all.map((step) => [step.recipe, step])).values()];
}

/** Mean and half of the spread between seeds. */
export function withSpread(accuracy: readonly number[]): string {
  const spread = (Math.max(...accuracy) - Math.min(...accuracy)) / 2;
  return accuracy.length > 1 ? `${mean(accuracy).toFixed(3)} ± ${spread.toFixed(3)}` : accuracy[0]!.toFixed(3);
}
