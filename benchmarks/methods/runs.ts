/** What runs came to, kept one by one: a benchmark that was stopped goes on where it was. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Recipe } from './recipes.js';

export interface Run {
  readonly recipe: Recipe;
  readonly task: string;
  readonly epochs: number;
  readonly seed: number;
  readonly date: string;
  readonly accuracy: number;
  /** Numbers that were trained, the head's among them. */
  readonly trainable: number;
  readonly savedBytes: number;
  /** What the method said last. */
  readonly note?: string;
}

const file = fileURLToPath(new URL('../results/methods.json', import.meta.url));

/** Runs of this recipe as it is now: one with another rate or option is another recipe. */
export const isOf = (run: Run, recipe: Recipe, task: string, epochs: number): boolean =>
  run.task === task && run.epochs === epochs && JSON.stringify(run.recipe) === JSON.stringify(recipe);

export const keptRuns = (): Run[] => (existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Run[]) : []);

/** Adds a run; an interrupted write leaves the file as it was. */
export function keepRun(run: Run): void {
  const lines = [...keptRuns(), run].map((each) => JSON.stringify(each));
  writeFileSync(`${file}.part`, `[\n${lines.join(',\n')}\n]\n`);
  renameSync(`${file}.part`, file);
}
