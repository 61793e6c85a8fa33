/**
 * A step of every method beside PyTorch: 16 rows of 128 tokens on the 22M encoder, AdamW, two threads; time of a step
 * (the median of the last half, where a method has come to its last phase) and the memory of the process. The peers are
 * LoRA r 8 with PEFT and full fine-tuning with PyTorch, in turn with ours in one run.
 *
 * Needs PEFTJS_SHARED. Rounds: PEFTJS_BENCH_ROUNDS (default 3), some recipes only: PEFTJS_BENCH_ONLY (names).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sharedPath } from '@peftjs/testkit';
import { build, findPython, type Measured, measure, median } from '../measure.js';
import { type Recipe, recipes } from '../methods/recipes.js';
import { keep } from '../report.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const model = sharedPath('models', 'all-MiniLM-L6-v2');
if (!model) throw new Error('This benchmark needs the shared models: set PEFTJS_SHARED.');
const rounds = Number(process.env.PEFTJS_BENCH_ROUNDS ?? 3);
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');
const steps = 16;
const python = await findPython('peft', 'torch', 'transformers');
if (!python) console.error('No Python with peft found (PEFTJS_PYTHON): only ours is timed.');
await build();

const out = mkdtempSync(join(tmpdir(), 'peftjs-method-steps-'));
const data = join(out, 'rows.jsonl');
const row = (label: number) => JSON.stringify({ text: 'a film of many words '.repeat(40), label: String(label) });
writeFileSync(data, Array.from({ length: 16 }, (_, i) => `${row(i % 2)}\n`).join(''));

interface Step {
  readonly seconds: number;
  readonly anonymousBytes: number | undefined;
}

const ofLastHalf = (seconds: readonly number[]): number => median(seconds.slice(seconds.length >> 1));

async function ours({ method, set, lr, targetModules }: Recipe): Promise<Step> {
  const { stdout, anonymous } = await measure(process.execPath, [
    here('../peft.mjs'),
    ...['train', '--model', model!, '--task', 'sequence-classification', '--json', '--data', data],
    ...['--method', method, ...Object.entries(set).flatMap(([key, value]) => ['--set', `${key}=${value}`])],
    ...(targetModules ? ['--target-modules', targetModules] : []),
    ...['--lr', String(lr), '--steps', String(steps), '--batch-size', '16', '--max-length', '128'],
    ...['--threads', '2', '--output', join(out, 'adapter')],
  ]);
  const events = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; seconds: number });
  rmSync(join(out, 'adapter'), { recursive: true });
  const seconds = ofLastHalf(events.filter(({ event }) => event === 'step').map((event) => event.seconds));
  return { seconds, anonymousBytes: anonymous };
}

async function peer(what: 'lora' | 'full'): Promise<Step> {
  const run: Measured = await measure(python!, [here('../train/peer.py'), 'step', model!, String(steps), what]);
  const { seconds } = JSON.parse(run.stdout.trim().split('\n').at(-1)!) as { seconds: number[] };
  return { seconds: ofLastHalf(seconds), anonymousBytes: run.anonymous };
}

const cases = [
  ...(python ? (['full', 'lora'] as const).map((what) => ({ name: `PyTorch ${what}`, step: () => peer(what) })) : []),
  ...recipes
    .filter(({ name }) => only?.includes(name) ?? true)
    .map((recipe) => ({ name: recipe.name, step: () => ours(recipe) })),
];
const seen = cases.map((): Step[] => []);
try {
  for (let round = 0; round < rounds; round++)
    for (const [i, { name, step }] of cases.entries()) {
      seen[i]!.push(await step());
      console.error(`${round + 1}/${rounds} ${name}: ${seen[i]!.at(-1)!.seconds.toFixed(3)} s`);
    }
} finally {
  rmSync(out, { recursive: true });
}

const full = python ? seen[0]! : undefined;
const secondsOf = (runs: readonly Step[]) => median(runs.map(({ seconds }) => seconds));
const bytesOf = (runs: readonly Step[]) => median(runs.map(({ anonymousBytes }) => anonymousBytes ?? Number.NaN));
const ratio = (a: number, b: number | undefined) => b && Number((a / b).toFixed(3));
const results = cases.map(({ name }, i) => ({
  recipe: name,
  rounds,
  seconds: secondsOf(seen[i]!),
  anonymousBytes: bytesOf(seen[i]!),
  timeOfFull: ratio(secondsOf(seen[i]!), full && secondsOf(full)),
  memoryOfFull: ratio(bytesOf(seen[i]!), full && bytesOf(full)),
}));
console.table(
  results.map(({ recipe, seconds, anonymousBytes, timeOfFull, memoryOfFull }) => ({
    method: recipe,
    'step s': seconds.toFixed(3),
    'MB anonymous': Math.round(anonymousBytes / 2 ** 20),
    'time of full': timeOfFull,
    'memory of full': memoryOfFull,
  })),
);
keep('method-steps', { results });
