/** What recipes reach on real data: each run is a `peft train` command on one thread, kept as it ends. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sharedPath } from '@peftjs/testkit';
import { eventsOf, trainArguments } from './command.js';
import type { Recipe, Task } from './recipes.js';
import { isOf, keepRun, keptRuns } from './runs.js';

/** Trains, evaluates and keeps what came out. */
async function run(model: string, recipe: Recipe, { name: task, epochs }: Task, seed: number, output: string) {
  const began = performance.now();
  const command = trainArguments(
    model,
    recipe,
    ...['--data', sharedPath('data', task, 'train.tsv')!, '--eval-data', sharedPath('data', task, 'test.tsv')!],
    ...['--epochs', String(epochs), '--batch-size', '32', '--schedule', 'linear', '--warmup-ratio', '0.06'],
    ...['--seed', String(seed), '--threads', '1', '--output', output],
  );
  const { stdout } = await promisify(execFile)(process.execPath, command);
  const seconds = (performance.now() - began) / 1000;
  const events = eventsOf<Record<string, unknown>>(stdout);
  const { metrics, trainable } = events.at(-1) as { metrics: { accuracy: number }; trainable: number };
  const note = events.findLast((event) => event.note)?.note as string | undefined;
  const savedBytes = readdirSync(output).reduce((sum, name) => sum + statSync(join(output, name)).size, 0);
  const date = new Date().toISOString().slice(0, 10);
  const { accuracy } = metrics;
  keepRun({ recipe, task, epochs, seed, date, accuracy, trainable, savedBytes, ...(note !== undefined && { note }) });
  console.error(`${task}, ${recipe.name}, seed ${seed}: ${accuracy} in ${seconds.toFixed(0)} s`);
}

export interface Runs {
  readonly recipes: readonly Recipe[];
  readonly tasks: readonly Task[];
  readonly seeds: readonly number[];
  readonly atOnce: number;
}

/** Makes the runs that are not kept yet, seed by seed, `atOnce` at a time. */
export async function train(model: string, { recipes, tasks, seeds, atOnce }: Runs): Promise<void> {
  const out = mkdtempSync(join(tmpdir(), 'peftjs-methods-'));
  const kept = keptRuns();
  const missing = seeds.flatMap((seed) =>
    tasks.flatMap((task) =>
      recipes
        .filter((recipe) => !kept.some((each) => each.seed === seed && isOf(each, recipe, task.name, task.epochs)))
        .map((recipe, index) => () => run(model, recipe, task, seed, join(out, `${task.name}-${index}-${seed}`))),
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
}
