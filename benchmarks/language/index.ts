/**
 * LoRA on causal language models: the held-out loss of text from meaning representations (E2E) before and after, beside
 * PyTorch + PEFT with the same recipe. Each row is a `peft train` command.
 *
 * Needs PEFTJS_SHARED; SmolLM2 where PEFTJS_SMOLLM2 names its directory. PEFTJS_BENCH_SEEDS (default 0),
 * PEFTJS_BENCH_ONLY (names).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rows } from '@peftjs/models';
import { sharedPath } from '@peftjs/testkit';
import { build, measure, median } from '../measure.js';
import { keep } from '../report.js';

interface Recipe {
  readonly name: string;
  readonly model: string | undefined;
  readonly heldOut: number;
  readonly options: readonly string[];
  /** Held-out loss of PEFT: before, and after by seed. */
  readonly reference: { readonly before: number; readonly after: readonly number[] };
}

const common = ['--method', 'lora', '--set', 'r=8', '--set', 'alpha=16', '--schedule', 'linear'];
const recipes: readonly Recipe[] = [
  {
    name: 'stories260k',
    model: sharedPath('models', 'stories260k'),
    heldOut: 1000,
    options: [
      '--target-modules',
      'all-linear',
      '--lr',
      '5e-3',
      '--steps',
      '600',
      '--batch-size',
      '16',
      '--warmup-ratio',
      '0.05',
    ],
    reference: { before: 4.2309, after: [2.0572, 2.143, 2.0307] },
  },
  {
    name: 'smollm2-135m',
    model: process.env.PEFTJS_SMOLLM2,
    heldOut: 200,
    options: [
      '--target-modules',
      'q_proj,v_proj',
      '--lr',
      '1e-3',
      '--steps',
      '60',
      '--batch-size',
      '8',
      '--warmup-ratio',
      '0.16667',
    ],
    reference: { before: 2.5298, after: [1.44, 1.4632] },
  },
];

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');
const seeds = (process.env.PEFTJS_BENCH_SEEDS ?? '0').split(',').map(Number);
const [training, test] = [sharedPath('data', 'e2e', 'train.csv'), sharedPath('data', 'e2e', 'test.csv')];
if (!training || !test) throw new Error('This benchmark needs the shared data: set PEFTJS_SHARED.');
await build();
const out = mkdtempSync(join(tmpdir(), 'peftjs-language-'));

/** Prompt and completion of the first `count` rows, as JSON lines. */
async function prepared(from: string, to: string, count = Number.POSITIVE_INFINITY): Promise<string> {
  const lines: string[] = [];
  for await (const { mr, ref } of rows(from)) {
    if (lines.length === count) break;
    lines.push(JSON.stringify({ prompt: `${mr}\n`, completion: ref }));
  }
  writeFileSync(to, lines.join('\n'));
  return to;
}

interface Result {
  readonly metrics: { readonly loss: number };
  readonly trainable: number;
  readonly peak_bytes: number;
}
async function peft(...args: string[]): Promise<Result & { wall: number }> {
  const { stdout, seconds } = await measure(process.execPath, [
    here('../peft.mjs'),
    ...args,
    '--task',
    'causal-lm',
    '--json',
  ]);
  return { ...(JSON.parse(stdout.trim().split('\n').at(-1)!) as Result), wall: seconds };
}

const data = await prepared(training, join(out, 'train.jsonl'));
const results = [];
for (const { name, model, heldOut, options, reference } of recipes) {
  if (!model || (only && !only.includes(name))) continue;
  const held = await prepared(test, join(out, `${name}.jsonl`), heldOut);
  const before = (await peft('eval', '--model', model, '--data', held)).metrics.loss;
  const runs = [];
  for (const seed of seeds) {
    const output = ['--seed', String(seed), '--output', join(out, `${name}-${seed}`)];
    const run = await peft(
      'train',
      '--model',
      model,
      '--data',
      data,
      '--eval-data',
      held,
      ...common,
      ...options,
      ...output,
    );
    console.error(
      `${name} seed ${seed}: ${before.toFixed(4)} -> ${run.metrics.loss.toFixed(4)} in ${run.wall.toFixed(0)} s`,
    );
    runs.push(run);
  }
  const after = runs.map((run) => run.metrics.loss);
  const [seconds, peak] = [median(runs.map((run) => run.wall)), Math.max(...runs.map((run) => run.peak_bytes))];
  results.push({ name, seeds, trainable: runs[0]!.trainable, before, after, reference, seconds, residentBytes: peak });
}
rmSync(out, { recursive: true });

console.table(
  results.map((r) => ({
    model: r.name,
    before: r.before.toFixed(4),
    after: r.after.map((x) => x.toFixed(4)).join(' '),
    PEFT: r.reference.after.join(' '),
    seconds: Math.round(r.seconds),
  })),
);
keep('language', { results });
