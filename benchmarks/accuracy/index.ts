/**
 * What LoRA reaches on real data, beside PyTorch + PEFT with the same recipe (batches of 32, rate 1e-3, linear schedule
 * with 6 % warm-up, alpha = 2 r, no dropout). Each row is a `peft train` command with its test set as evaluation data.
 *
 * Needs PEFTJS_SHARED. PEFTJS_BENCH_SEEDS (default 0,1,2), PEFTJS_BENCH_ONLY (names).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sharedPath } from '@peftjs/testkit';
import { build, mean, measure } from '../measure.js';
import { keep } from '../report.js';

interface Recipe {
  readonly name: string;
  readonly data: string;
  readonly epochs: number;
  readonly r: number;
  /** Accuracy of PEFT 0.21.2 by seed. */
  readonly reference: readonly number[];
}

const recipes: readonly Recipe[] = [
  { name: 'trec-r8', data: 'trec', epochs: 3, r: 8, reference: [0.94, 0.95, 0.952] },
  { name: 'trec-r1', data: 'trec', epochs: 3, r: 1, reference: [0.928, 0.92, 0.91] },
  { name: 'sst2-r8', data: 'sst2', epochs: 2, r: 8, reference: [0.8666, 0.8715, 0.8627] },
  { name: 'subj-r8', data: 'subj', epochs: 1, r: 8, reference: [0.935, 0.935] },
];

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const model = sharedPath('models', 'all-MiniLM-L6-v2');
if (!model) throw new Error('This benchmark needs the shared models and data: set PEFTJS_SHARED.');
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');
const seeds = (process.env.PEFTJS_BENCH_SEEDS ?? '0,1,2').split(',').map(Number);
await build();
const out = mkdtempSync(join(tmpdir(), 'peftjs-accuracy-'));

const results = [];
for (const { name, data, epochs, r, reference } of recipes) {
  if (only && !only.includes(name)) continue;
  const runs: { accuracy: number; seconds: number; trainable: number }[] = [];
  for (const seed of seeds) {
    const { stdout, seconds } = await measure(process.execPath, [
      here('../peft.mjs'),
      ...['train', '--model', model, '--task', 'sequence-classification', '--json', '--seed', String(seed)],
      ...['--data', sharedPath('data', data, 'train.tsv')!, '--eval-data', sharedPath('data', data, 'test.tsv')!],
      ...['--method', 'lora', '--set', `r=${r}`, '--set', `alpha=${2 * r}`, '--target-modules', 'query,value'],
      ...['--lr', '1e-3', '--epochs', String(epochs), '--batch-size', '32', '--max-length', '128'],
      ...['--schedule', 'linear', '--warmup-ratio', '0.06', '--output', join(out, `${name}-${seed}`)],
    ]);
    const result = JSON.parse(stdout.trim().split('\n').at(-1)!) as {
      metrics: { accuracy: number };
      trainable: number;
    };
    runs.push({ accuracy: result.metrics.accuracy, seconds, trainable: result.trainable });
    console.error(`${name} seed ${seed}: ${result.metrics.accuracy} in ${seconds.toFixed(1)} s`);
  }
  const accuracy = runs.map((run) => run.accuracy);
  results.push({
    name,
    epochs,
    r,
    trainable: runs[0]!.trainable,
    accuracy,
    mean: mean(accuracy),
    reference,
    referenceMean: mean(reference),
    seconds: runs.map((run) => run.seconds),
  });
}
rmSync(out, { recursive: true });

console.table(
  results.map((x) => ({
    case: x.name,
    trained: x.trainable,
    ours: x.accuracy.join(' '),
    mean: x.mean.toFixed(4),
    PEFT: x.reference.join(' '),
    'PEFT mean': x.referenceMean.toFixed(4),
  })),
);
keep('accuracy', { results });
