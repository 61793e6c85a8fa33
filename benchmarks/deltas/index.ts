/**
 * Adapters on real data, merged and compressed: LoRA of rank 8 on SST-2, SST-5 and SUBJ over one encoder of 22 million
 * parameters; test accuracy of each adapter, of one merged update (with each task's own head) by every method that fits,
 * and of each adapter from the files of every codec. Ratios are to the float16 bytes of the adapter's factors, heads
 * apart on both sides.
 *
 * Needs PEFTJS_SHARED. PEFTJS_BENCH_SEEDS (default 0,1,2), PEFTJS_BENCH_EPOCHS (2), rows at most: PEFTJS_BENCH_TRAIN,
 * PEFTJS_BENCH_DEV (400), PEFTJS_BENCH_TEST; PEFTJS_BENCH_ALPHAS (1,2,3,4,6) that ComPEFT tries on development rows;
 * PEFTJS_BENCH_ONLY: some methods of merging.
 */
import { onnxruntime } from '@peftjs/onnxruntime';
import { sharedPath } from '@peftjs/testkit';
import { mean } from '../measure.js';
import { keep } from '../report.js';
import { bytesInFloat16, compressedByAll } from './compressing.js';
import { mergedByAll } from './merging.js';
import { names, type Trained, trainOn } from './tasks.js';

const number = (name: string, otherwise: number) => Number(process.env[`PEFTJS_BENCH_${name}`] ?? otherwise);
const list = (name: string, otherwise: string) => (process.env[`PEFTJS_BENCH_${name}`] ?? otherwise).split(',');
const sizes = {
  train: number('TRAIN', Number.POSITIVE_INFINITY),
  dev: number('DEV', 400),
  test: number('TEST', Number.POSITIVE_INFINITY),
  epochs: number('EPOCHS', 2),
};
const seeds = list('SEEDS', '0,1,2').map(Number);
const alphas = list('ALPHAS', '1,2,3,4,6').map(Number);
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');
const base = sharedPath('models', 'all-MiniLM-L6-v2');
if (!base) throw new Error('This benchmark needs the shared models and data: set PEFTJS_SHARED.');

const backend = onnxruntime();
const began = performance.now();
const say = (text: string) => console.error(`${((performance.now() - began) / 1000).toFixed(0)} s  ${text}`);

async function scores(trained: readonly Trained[], delta: (of: Trained) => Trained['adapter']['delta']) {
  const accuracy: Record<string, number> = {};
  for (const one of trained) accuracy[one.name] = await one.test(delta(one));
  return { accuracy, mean: mean(Object.values(accuracy)) };
}

const results = [];
try {
  for (const seed of seeds) {
    const trained: Trained[] = [];
    for (const name of names) {
      trained.push(await trainOn(name, base, backend, sizes, seed));
      say(`seed ${seed}: ${name} is trained`);
    }
    const alone = await scores(trained, ({ adapter }) => adapter.delta);
    const nothing = { shape: new Map(), params: new Map() };
    const headOnly = await scores(trained, () => nothing);
    const merged: object[] = [];
    const refused: object[] = [];
    for await (const { name, options, made } of mergedByAll(
      trained.map(({ adapter }) => adapter),
      seed,
      only,
    )) {
      if ('refused' in made) refused.push({ name, options, reason: made.refused });
      else merged.push({ name, options, ...(await scores(trained, () => made.delta)) });
      say(`seed ${seed}: ${name}${'refused' in made ? ' does not fit' : ''}`);
    }
    const compressed: object[] = [];
    for (const one of trained) {
      const codecs = await compressedByAll(one, alphas);
      compressed.push({
        task: one.name,
        bytes: bytesInFloat16(one.adapter.delta),
        accuracy: alone.accuracy[one.name],
        codecs,
      });
      say(`seed ${seed}: ${one.name} is compressed`);
    }
    results.push({ seed, alone, headOnly, merged, refused, compressed });
  }
} finally {
  await backend.dispose();
}

console.table(
  (results[0]!.merged as { name: string; mean: number; accuracy: object }[]).map(({ name, mean, accuracy }) => ({
    name,
    ...accuracy,
    mean,
  })),
);
for (const { task, accuracy, codecs } of results[0]!.compressed as {
  task: string;
  accuracy: number;
  codecs: object[];
}[]) {
  console.log(`${task}: ${accuracy} before`);
  console.table(codecs);
}
const seconds = (performance.now() - began) / 1000;
keep('deltas', { sizes, denominator: 'float16 bytes of the factors, heads apart', alphas, seconds, results });
