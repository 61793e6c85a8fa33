import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readAdapter, train, writeAdapter } from '@peftjs/core';
import { lora } from '@peftjs/lora';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { answers } from './answers.js';
import { writeMerged } from './merged.js';
import { serveAll } from './served.js';
import { exactMatch, type Skill, skills } from './skills.js';

// Three tenants teach one small base model three things it cannot do, each with an adapter of its own; then one server
// answers all three from mixed batches. `npm run demo [-- FOLDER]` keeps the adapters in FOLDER.

const base = fileURLToPath(new URL('base', import.meta.url));
const kept = process.argv[2];
const folder = kept ?? (await mkdtemp(join(tmpdir(), 'peftjs-demo-')));
const percent = (share: number) => `${Math.round(100 * share)} %`;

const backend = onnxruntime();
const model = await loadModel(base, { task: causalLm() });
const tenants = skills();
const learned = new Map<string, readonly string[]>();
let failures = 0;
const must = (holds: boolean, what: string) => {
  if (holds) return;
  failures++;
  console.error(`  not so: ${what}`);
};

for (const skill of tenants) await teach(skill);

console.log('\nServing: one base, one batch, three adapters');
const served = await serveAll(base, tenants, (tenant) => join(folder, tenant));
for (const { tenant, heldOut } of tenants) {
  const texts = served.answers.get(tenant) ?? [];
  const same = texts.filter((text, i) => text === learned.get(tenant)?.[i]).length;
  console.log(
    `  ${tenant}: ${percent(exactMatch(texts, heldOut))} right, ${same} of ${heldOut.length} as without the server`,
  );
  must(exactMatch(texts, heldOut) >= 0.9, `${tenant} is served at least 90 % right`);
}
const rate = (served.requests / served.seconds).toFixed(0);
console.log(
  `  ${served.requests} requests in ${served.seconds.toFixed(1)} s (${rate} a second), up to ${served.mixed} adapters in a batch`,
);
must(served.mixed === tenants.length, 'one batch holds all adapters');

await backend.dispose();
if (kept) console.log(`\nAdapters and merged models are in ${folder}`);
else await rm(folder, { recursive: true });
process.exitCode = failures > 0 ? 1 : 0;

/** Trains one tenant's adapter, and shows what it changed: before, after, and merged into the base. */
async function teach({ tenant, wants, train: data, heldOut }: Skill): Promise<void> {
  const prompts = heldOut.map(({ prompt }) => prompt);
  const before = await answers(model, backend, prompts);
  console.log(`\n${tenant}: ${wants}`);
  console.log(`  asked     ${prompts[0]}`);
  console.log(`  base     ${before[0]}`);

  const started = performance.now();
  const run = train(model, {
    method: lora({ r: 8, alpha: 16, targetModules: 'all-linear' }),
    data: data.map((row) => ({ ...row })),
    backend,
    lr: 5e-3,
    steps: 300,
    batchSize: 16,
    warmupRatio: 0.06,
  });
  let loss = Number.NaN;
  let trainable = 0;
  for await (const event of run) {
    if (event.type === 'start') trainable = event.trainable;
    if (event.type === 'step') loss = event.loss;
  }
  const path = join(folder, tenant);
  await writeAdapter(path, await run.result());
  const seconds = (performance.now() - started) / 1000;

  const adapter = await readAdapter(path);
  const after = await answers(model, backend, prompts, adapter);
  learned.set(tenant, after);
  console.log(`  adapter  ${after[0]}`);
  await writeMerged(join(folder, `${tenant}-merged`), model, adapter);
  const merged = await loadModel(join(folder, `${tenant}-merged`), { task: causalLm() });
  const alone = await answers(merged, backend, prompts);

  const [was, is, stays] = [before, after, alone].map((texts) => exactMatch(texts, heldOut)) as [
    number,
    number,
    number,
  ];
  console.log(`  ${trainable} numbers trained in ${seconds.toFixed(1)} s, last loss ${loss.toFixed(3)}`);
  console.log(
    `  right on ${heldOut.length} held-out prompts: base ${percent(was)}, adapter ${percent(is)}, merged ${percent(stays)}`,
  );
  must(was <= 0.1, `the base answers at most 10 % of ${tenant}'s prompts`);
  must(is >= 0.9, `${tenant}'s adapter answers at least 90 %`);
  must(stays === is, `${tenant} merged answers as with the adapter`);
}
