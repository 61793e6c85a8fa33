/**
 * Merging beside mergekit: linear, TIES and DARE of three synthetic checkpoints by the same recipe, one after the other
 * in one run. Without a Python that has mergekit it prints ours and says so.
 *
 * Size of a checkpoint: PEFTJS_BENCH_MB (default 1000). Rounds: PEFTJS_BENCH_ROUNDS (default 3). Some methods only:
 * PEFTJS_BENCH_ONLY=ties,linear.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, findPython, type Measured, measure } from '../measure.js';
import { beside, keep } from '../report.js';
import { compare, writeModel } from './models.js';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const megabytes = Number(process.env.PEFTJS_BENCH_MB ?? 1000);
const rounds = Number(process.env.PEFTJS_BENCH_ROUNDS ?? 3);
const only = process.env.PEFTJS_BENCH_ONLY?.split(',');
const methods = ['linear', 'ties', 'dare_ties'].filter((name) => !only || only.includes(name));

const python = await findPython('mergekit', 'torch');
if (!python) console.error('No Python with mergekit found (PEFTJS_PYTHON): only ours is timed.');
await build();
const out = mkdtempSync(join(tmpdir(), 'peftjs-bench-'));

/** The same arithmetic on both sides: float32 throughout. */
function recipeOf(method: string, base: string, models: readonly string[]): string {
  const entries = models.map((model) => `  - { model: ${model}, parameters: { weight: 0.4, density: 0.3 } }`);
  const plain = models.map((model) => `  - { model: ${model}, parameters: { weight: 0.4 } }`);
  const lines = method === 'linear' ? plain : [`  - { model: ${base} }`, ...entries];
  const head = method === 'linear' ? [] : [`base_model: ${base}`];
  return [`merge_method: ${method}`, ...head, 'models:', ...lines, 'dtype: float32', ''].join('\n');
}

const results = [];
try {
  const base = await writeModel(out, megabytes, 0);
  const models = [];
  for (const seed of [1, 2, 3]) models.push(await writeModel(out, megabytes, seed));
  for (const method of methods) {
    const recipe = join(out, `${method}.yml`);
    writeFileSync(recipe, recipeOf(method, base, models));
    const [oursAt, peerAt] = [join(out, 'ours'), join(out, 'peer')];
    const [mine, theirs]: [Measured[], Measured[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const ours = ['merge', recipe, oursAt, '--threads', '2', '--json'];
      mine.push(await measure(process.execPath, [here('../peft.mjs'), ...ours]));
      const peer = ['-m', 'mergekit.scripts.run_yaml', recipe, peerAt, '--no-copy-tokenizer', '--random-seed', '0'];
      if (python) theirs.push(await measure(python, peer));
      const seconds = (m: Measured | undefined) => m?.seconds.toFixed(2);
      console.error(
        `${method} ${round + 1}/${rounds}: ours ${seconds(mine.at(-1))} s${python ? `, mergekit ${seconds(theirs.at(-1))} s` : ''}`,
      );
    }
    results.push({
      name: method,
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
keep('merge', { megabytes, results });
