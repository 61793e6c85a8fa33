/**
 * The methods on real data: trained numbers, accuracy (mean and that of each seed) and bytes saved, each run a
 * `peft train` command on the 22M encoder. Beside it what PEFT reaches by LoRA and full fine-tuning with the same data,
 * batches and schedule. Time and memory of a step: `peft bench method-steps`.
 *
 * Runs are kept as they end and not made again: stopped, it goes on where it was. As many run at a time as there are
 * processors, each on one thread.
 *
 * Needs PEFTJS_SHARED. PEFTJS_BENCH_SEEDS (default 0,1,2), PEFTJS_BENCH_ONLY (names of recipes), PEFTJS_BENCH_TASKS
 * (default trec,sst2,subj), PEFTJS_BENCH_AT_ONCE (default: the processors).
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { sharedPath } from '@peftjs/testkit';
import { build } from '../measure.js';
import { type Recipe, recipes, type Task, tasks } from './recipes.js';
import { isOf, keepRun, keptRuns } from './runs.js';

const peft = fileURLToPath(new URL('../peft.mjs', import.meta.url));
const model = sharedPath('models', 'all-MiniLM-L6-v2');
if (!model) throw new Error('This benchmark needs the shared models and data: set PEFTJS_SHARED.');
const listed = (variable: string) => process.env[variable]?.split(',');
const only = listed('PEFTJS_BENCH_ONLY');
const wanted = listed('PEFTJS_BENCH_TASKS');
const seeds = (listed('PEFTJS_BENCH_SEEDS') ?? ['0', '1', '2']).map(Number);
const atOnce = Number(process.env.PEFTJS_BENCH_AT_ONCE ?? availableParallelism());
const chosenTasks = tasks.filter(({ name }) => wanted?.includes(name) ?? true);
const chosenRecipes = recipes.filter(({ name }) => only?.includes(name) ?? true);

/** Trains, evaluates and keeps what came out. */
async function run(recipe: Recipe, { name: task, epochs }: Task, seed: number, output: string): Promise<void> {
  const { method, set, lr, targetModules } = recipe;
  const began = performance.now();
  const { stdout } = await promisify(execFile)(process.execPath, [
    peft,
    ...['train', '--model', model!, '--task', 'sequence-classification', '--json', '--seed', String(seed)],
    ...['--data', sharedPath('data', task, 'train.tsv')!, '--eval-data', sharedPath('data', task, 'test.tsv')!],
    ...['--method', method, ...Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`])],
    ...(targetModules ? ['--target-modules', targetModules] : []),
    ...['--lr', String(lr), '--epochs', String(epochs), '--batch-size', '32', '--max-length', '128'],
    ...['--schedule', 'linear', '--warmup-ratio', '0.06', '--threads', '1', '--output', output],
  ]);
  const seconds = (performance.now() - began) / 1000;
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const { metrics, trainable } = events.at(-1) as { metrics: { accuracy: number }; trainable: number };
  const note = events.findLast((event) => event.note)?.note as string | undefined;
  const savedBytes = readdirSync(output).reduce((sum, name) => sum + statSync(join(output, name)).size, 0);
  const date = new Date().toISOString().slice(0, 10);
  const { accuracy } = metrics;
  keepRun({ recipe, task, epochs, seed, date, accuracy, trainable, savedBytes, ...(note !== undefined && { note }) });
  console.error(`${task}, ${recipe.name}, seed ${seed}: ${accuracy} in ${seconds.toFixed(0)} s`);
}

await build();
const out = mkdtempSync(join(tmpdir(), 'peftjs-methods-'));
const kept = keptRuns();
const missing = seeds.flatMap((seed) =>
  chosenTasks.flatMap((task) =>
    chosenRecipes
      .filter((recipe) => !kept.some((run) => run.seed === seed && isOf(run, recipe, task.name, task.epochs)))
      .map((recipe, index) => () => run(recipe, task, seed, join(out, `${task.name}-${index}-${seed}`))),
  ),
);
try {
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let next = missing.shift(); next; next = missing.shift()) await next();
    }),
  );
} finally {
  rmSync(out, { recursive: true });
}

const runs = keptRuns();
console.table(
  chosenTasks.flatMap((task) =>
    chosenRecipes.map((recipe) => {
      const own = runs.filter((run) => isOf(run, recipe, task.name, task.epochs));
      const accuracy = own.map((run) => run.accuracy);
      return {
        task: task.name,
        method: recipe.name,
        trained: own[0]?.trainable,
        accuracy: (accuracy.reduce((a, b) => a + b, 0) / accuracy.length).toFixed(4),
        seeds: accuracy.join(' '),
        bytes: own[0]?.savedBytes,
      };
    }),
  ),
);
console.log(JSON.stringify({ benchmark: 'methods', runs: runs.length }));
