/**
 * The methods on real data: trained numbers, accuracy (mean and spread of the seeds), bytes saved, time of a step and
 * peak memory, each row a `peft train` command on the 22M encoder. Beside it what PEFT reaches by LoRA and full
 * fine-tuning with the same data, batches and schedule.
 *
 * Needs PEFTJS_SHARED. PEFTJS_BENCH_SEEDS (default 0,1,2), PEFTJS_BENCH_ONLY (names of recipes), PEFTJS_BENCH_TASKS
 * (default trec,sst2,subj), PEFTJS_BENCH_STEPS (updates instead of the task's epochs, for a quick look).
 */
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sharedPath } from '@peftjs/testkit';
import { build, measure, median } from '../measure.js';
import { keep } from '../report.js';
import { type Recipe, recipes, tasks } from './recipes.js';

const peft = fileURLToPath(new URL('../peft.mjs', import.meta.url));
const model = sharedPath('models', 'all-MiniLM-L6-v2');
if (!model) throw new Error('This benchmark needs the shared models and data: set PEFTJS_SHARED.');
const listed = (variable: string) => process.env[variable]?.split(',');
const only = listed('PEFTJS_BENCH_ONLY');
const wanted = listed('PEFTJS_BENCH_TASKS');
const seeds = (listed('PEFTJS_BENCH_SEEDS') ?? ['0', '1', '2']).map(Number);
const steps = process.env.PEFTJS_BENCH_STEPS;

/** What one run came to. */
interface Trained {
  readonly accuracy: number;
  readonly trainable: number;
  readonly savedBytes: number;
  readonly stepSeconds: number;
  readonly anonymousBytes: number | undefined;
  readonly seconds: number;
}

async function trained(recipe: Recipe, task: string, epochs: number, seed: number, output: string): Promise<Trained> {
  const { method, set, lr, targetModules } = recipe;
  const { stdout, seconds, anonymous } = await measure(process.execPath, [
    peft,
    ...['train', '--model', model!, '--task', 'sequence-classification', '--json', '--seed', String(seed)],
    ...['--data', sharedPath('data', task, 'train.tsv')!, '--eval-data', sharedPath('data', task, 'test.tsv')!],
    ...['--method', method, ...Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`])],
    ...(targetModules ? ['--target-modules', targetModules] : []),
    ...['--lr', String(lr), ...(steps ? ['--steps', steps] : ['--epochs', String(epochs)])],
    ...['--batch-size', '32', '--max-length', '128', '--schedule', 'linear', '--warmup-ratio', '0.06'],
    ...['--output', output],
  ]);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const result = events.at(-1) as { metrics: { accuracy: number }; trainable: number };
  return {
    accuracy: result.metrics.accuracy,
    trainable: result.trainable,
    savedBytes: readdirSync(output).reduce((sum, file) => sum + statSync(join(output, file)).size, 0),
    stepSeconds: median(events.filter(({ event }) => event === 'step').map((event) => Number(event.seconds))),
    anonymousBytes: anonymous,
    seconds,
  };
}

await build();
const out = mkdtempSync(join(tmpdir(), 'peftjs-methods-'));
const results: Record<string, unknown>[] = [];
for (const { name: task, epochs, reference } of tasks.filter(({ name }) => wanted?.includes(name) ?? true))
  for (const recipe of recipes.filter(({ name }) => only?.includes(name) ?? true)) {
    const runs: Trained[] = [];
    for (const seed of seeds) {
      runs.push(await trained(recipe, task, epochs, seed, join(out, `${task}-${results.length}-${seed}`)));
      console.error(
        `${task}, ${recipe.name}, seed ${seed}: ${runs.at(-1)!.accuracy} in ${runs.at(-1)!.seconds.toFixed(0)} s`,
      );
    }
    const accuracies = runs.map(({ accuracy }) => accuracy);
    results.push({
      task,
      recipe: recipe.name,
      method: recipe.method,
      ...(steps ? { steps: Number(steps) } : { epochs }),
      trainable: runs[0]!.trainable,
      mean: accuracies.reduce((a, b) => a + b, 0) / accuracies.length,
      accuracy: accuracies,
      savedBytes: runs[0]!.savedBytes,
      stepSeconds: median(runs.map((run) => run.stepSeconds)),
      anonymousBytes: runs[0]!.anonymousBytes,
      reference,
    });
  }
rmSync(out, { recursive: true });

console.table(
  results.map((row) => ({
    task: row.task,
    method: row.recipe,
    trained: row.trainable,
    accuracy: (row.mean as number).toFixed(4),
    spread: (row.accuracy as number[]).join(' '),
    bytes: row.savedBytes,
    'step s': (row.stepSeconds as number).toFixed(3),
    'MB anonymous': Math.round(Number(row.anonymousBytes) / 2 ** 20),
  })),
);
keep('methods', { results });
