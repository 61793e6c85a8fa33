/**
 * What the methods cost and reach on the 22M encoder: trained numbers, accuracy on real data (mean and spread of the
 * seeds), bytes saved, time and memory of a step. Beside them what PEFT and PyTorch reach and take.
 *
 * Runs are kept as they end and not made again: stopped, it goes on where it was. Of full fine-tuning, time and memory
 * are given where a Python with peft is found (PEFTJS_PYTHON).
 *
 * Needs PEFTJS_SHARED. PEFTJS_BENCH_SEEDS (default 0,1,2; empty: no training), PEFTJS_BENCH_ONLY (names of recipes),
 * PEFTJS_BENCH_TASKS (default trec,sst2,subj), PEFTJS_BENCH_AT_ONCE (runs at a time, default: the processors),
 * PEFTJS_BENCH_ROUNDS (of timed steps, default 3; 0: no times).
 */
import { availableParallelism } from 'node:os';
import { sharedPath } from '@peftjs/testkit';
import { build } from '../measure.js';
import { train } from './accuracy.js';
import { reached, stepsSeen, withSpread } from './figures.js';
import { recipes, tasks } from './recipes.js';
import { timeSteps } from './steps.js';

const listed = (variable: string) => process.env[variable]?.split(',').filter(Boolean);
const [seeds, only, wanted] = ['SEEDS', 'ONLY', 'TASKS'].map((name) => listed(`PEFTJS_BENCH_${name}`));
const model = sharedPath('models', 'all-MiniLM-L6-v2');
if (!model) throw new Error('This benchmark needs the shared models and data: set PEFTJS_SHARED.');
const chosenTasks = tasks.filter(({ name }) => wanted?.includes(name) ?? true);
const chosenRecipes = recipes.filter(({ name }) => only?.includes(name) ?? true);

await build();
await train(model, {
  recipes: chosenRecipes,
  tasks: chosenTasks,
  seeds: (seeds ?? ['0', '1', '2']).map(Number),
  atOnce: Number(process.env.PEFTJS_BENCH_AT_ONCE ?? availableParallelism()),
});
await timeSteps(model, chosenRecipes, Number(process.env.PEFTJS_BENCH_ROUNDS ?? 3));

const [scores, steps] = [reached(), stepsSeen()];
const rows = chosenRecipes.map((recipe) => {
  const own = scores.filter((each) => each.recipe === recipe);
  const step = steps.find((each) => each.recipe === recipe.name);
  const accuracy = chosenTasks.map(({ name }) => {
    const score = own.find(({ task }) => task.name === name);
    return [name, score && withSpread(score.accuracy)] as const;
  });
  return {
    method: recipe.name,
    trained: own[0]?.trainable,
    ...Object.fromEntries(accuracy),
    'bytes saved': own[0]?.savedBytes,
    'step s': step?.seconds.toFixed(3),
    'MB anonymous': step && Math.round(step.anonymousBytes / 2 ** 20),
    'time of full': step?.timeOfFull,
    'memory of full': step?.memoryOfFull,
  };
});
const references = [...new Set(tasks.flatMap(({ reference }) => Object.keys(reference)))].map((name) => ({
  method: `PEFT or PyTorch: ${name}`,
  ...Object.fromEntries(chosenTasks.map((task) => [task.name, task.reference[name]?.toFixed(3)])),
}));
console.table([...rows, ...references]);
console.log(JSON.stringify({ benchmark: 'methods', results: rows }));
