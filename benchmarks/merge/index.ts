/**
 * Merging beside mergekit: linear, SLERP, TIES and DARE of three synthetic checkpoints by the same recipes, in turn in
 * one run on the same files. Without a Python that has mergekit it prints ours and says so.
 *
 * Size of a checkpoint: PEFTJS_BENCH_MB (default 1000), stored as PEFTJS_BENCH_DTYPE (bf16, the default, or f32).
 * Rounds: PEFTJS_BENCH_ROUNDS (default 3). Some methods only: PEFTJS_BENCH_ONLY=ties,linear. Six times the size of a
 * checkpoint lies in the folder of temporary files meanwhile (TMPDIR).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, findPython, type Measured, measure } from '../measure.js';
import { beside, keep } from '../report.js';
import { compare, stored, torchNames, writeModel } from './models.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const megabytes = Number(process.env.PEFTJS_BENCH_MB ?? 1000);
const dtype = stored(process.env.PEFTJS_BENCH_DTYPE ?? 'bf16');
const rounds = Number(process.env.PEFTJS_BENCH_ROUNDS ?? 3);
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');

interface Case {
  readonly name: string;
  /** Of each model. */
  readonly parameters?: string;
  readonly shared?: string;
  readonly base: boolean;
  readonly models: number;
}
const all: readonly Case[] = [
  { name: 'linear', parameters: 'weight: 0.4', base: false, models: 3 },
  { name: 'slerp', shared: 't: 0.4', base: true, models: 1 },
  { name: 'ties', parameters: 'weight: 0.4, density: 0.3', base: true, models: 3 },
  { name: 'dare_ties', parameters: 'weight: 0.4, density: 0.3', base: true, models: 3 },
];
const cases = all.filter(({ name }) => !only || only.includes(name));

/** The same arithmetic on both sides: float32 throughout, rounded once to what the checkpoints are stored in. */
function recipeOf({ name, parameters = '', shared, base: based, models: count }: Case, base: string, models: string[]) {
  return [
    `merge_method: ${name}`,
    ...(based ? [`base_model: ${base}`] : []),
    'models:',
    ...(based ? [`  - { model: ${base} }`] : []),
    ...models.slice(0, count).map((model) => `  - { model: ${model}, parameters: { ${parameters} } }`),
    ...(shared ? [`parameters: { ${shared} }`] : []),
    'dtype: float32',
    `out_dtype: ${torchNames[dtype]}`,
    '',
  ].join('\n');
}

const python = await findPython('mergekit', 'torch');
if (!python) console.error('No Python with mergekit found (PEFTJS_PYTHON): only ours is timed.');
const versionOf = async (name: string) =>
  python &&
  (await measure(python, ['-c', `import importlib.metadata as m; print(m.version("${name}"))`])).stdout.trim();
await build();
const out = mkdtempSync(join(tmpdir(), 'peftjs-bench-'));

const results = [];
try {
  const base = await writeModel(out, megabytes, dtype, 0);
  const models: string[] = [];
  for (const seed of [1, 2, 3]) models.push(await writeModel(out, megabytes, dtype, seed));
  for (const entry of cases) {
    const { name } = entry;
    const recipe = join(out, `${name}.yml`);
    writeFileSync(recipe, recipeOf(entry, base, models));
    const [oursAt, peerAt] = [join(out, 'ours'), join(out, 'peer')];
    const [mine, theirs]: [Measured[], Measured[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      for (const path of [oursAt, peerAt]) rmSync(path, { recursive: true, force: true });
      const ours = ['merge', recipe, oursAt, '--threads', '2', '--json'];
      mine.push(await measure(process.execPath, [here('../peft.mjs'), ...ours]));
      const peer = ['-m', 'mergekit.scripts.run_yaml', recipe, peerAt, '--no-copy-tokenizer', '--random-seed', '0'];
      if (python) theirs.push(await measure(python, peer));
      const seconds = (m: Measured | undefined) => m?.seconds.toFixed(2);
      console.error(
        `${name} ${round + 1}/${rounds}: ours ${seconds(mine.at(-1))} s${python ? `, mergekit ${seconds(theirs.at(-1))} s` : ''}`,
      );
    }
    results.push({
      name,
      rounds,
      ...beside(mine, theirs),
      // Random draws are not the same numbers: of DARE only the norms can agree.
      ...(python && { agreement: await compare(oursAt, peerAt, base) }),
    });
  }
} finally {
  rmSync(out, { recursive: true });
}

console.table(
  results.map((r) => ({
    case: r.name,
    'ours s': r.seconds.ours,
    'mergekit s': r.seconds.peer,
    time: r.seconds.ratio,
    'ours MB': r.anonymousBytes.ours && Math.round(r.anonymousBytes.ours / 1e6),
    memory: r.anonymousBytes.ratio,
  })),
);
const machine = { memoryBytes: totalmem(), processors: availableParallelism() };
const peers = { mergekit: await versionOf('mergekit'), torch: await versionOf('torch') };
keep('merge', { megabytes, dtype, machine, peers, results });
