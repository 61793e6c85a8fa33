import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { causalLm, loadModel } from '@peftjs/models';
import { onnxruntime } from '@peftjs/onnxruntime';
import { serveAll } from './served.js';
import { exactMatch, skills } from './skills.js';
import { type Taught, teach } from './taught.js';

// Three tenants teach one small base model three things it cannot do, each with an adapter of its own; then one server
// answers all three and the bare base from mixed batches. `npm run demo [-- FOLDER]` keeps the adapters in FOLDER.

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const base = here('base');
const folder = process.argv[2] ?? here('../../.cache/demo');
const percent = (share: number) => `${Math.round(100 * share)} %`;
const oneLine = (text: string) => JSON.stringify(text.trim()).slice(1, -1);

const problems: string[] = [];
const must = (holds: boolean, what: string) => {
  if (!holds) problems.push(what);
};

function progress(done: number, loss: number): void {
  if (!process.stderr.isTTY) return;
  const full = Math.round(30 * done);
  const bar = `${'█'.repeat(full)}${'░'.repeat(30 - full)}`;
  process.stderr.write(done < 1 ? `\r  ${bar} loss ${loss.toFixed(3)} ` : '\r\u001b[2K');
}

const backend = onnxruntime();
const model = await loadModel(base, { task: causalLm() });
const tenants = skills();
const taught = new Map<string, Taught>();
for (const skill of tenants) {
  const { tenant, wants, heldOut } = skill;
  console.log(`\n${tenant} ${wants}`);
  const result = await teach(model, backend, skill, folder, progress);
  taught.set(tenant, result);
  console.log(`  asked         ${oneLine(heldOut[0]!.prompt)}`);
  console.log(`  base          ${oneLine(result.baseAnswers[0]!)}`);
  console.log(`  with adapter  ${oneLine(result.answers[0]!)}`);
  console.log(`  ${result.trained} numbers trained in ${result.seconds.toFixed(1)} s`);
  must(result.before <= 0.1, `the base answers at most 10 % of ${tenant}'s prompts`);
  must(result.after >= 0.9, `${tenant}'s adapter answers at least 90 %`);
  must(result.merged === result.after, `${tenant} merged answers as with the adapter`);
}
await backend.dispose();

console.log('\nOne server, every tenant and the bare base asked at once');
const served = await serveAll(base, tenants, (tenant) => `${folder}/${tenant}`);
for (const { prompt, replies } of served.together) {
  console.log(`\n  ${oneLine(prompt)}`);
  for (const [name, { text, batch }] of replies)
    console.log(
      `    ${name.padEnd(10)} ${oneLine(text).slice(0, 64).padEnd(64)}  batch of ${batch.rows}, ${batch.adapters} adapters`,
    );
}
must(
  served.together.some(({ replies }) => [...replies.values()].some(({ batch }) => batch.adapters === tenants.length)),
  'one batch holds all adapters',
);

console.log('\nExact answers to held-out prompts');
console.table(
  Object.fromEntries(
    tenants.map(({ tenant, heldOut }) => {
      const { before, after, merged, answers, seconds } = taught.get(tenant)!;
      const texts = served.answers.get(tenant)!;
      must(exactMatch(texts, heldOut) >= 0.9, `${tenant} is served at least 90 % right`);
      must(
        texts.every((text, i) => text === answers[i]),
        `${tenant} is served as without the server`,
      );
      const row = { base: before, adapter: after, merged, served: exactMatch(texts, heldOut) };
      const shares = Object.fromEntries(Object.entries(row).map(([name, share]) => [name, percent(share)]));
      return [tenant, { prompts: heldOut.length, ...shares, 'training s': Number(seconds.toFixed(1)) }];
    }),
  ),
);
console.log(`${served.requests} requests over HTTP in ${served.seconds.toFixed(1)} s.`);

const path = (to: string) => relative(process.cwd(), to) || '.';
const adapters = tenants.map(({ tenant }) => `--adapter ${tenant}=${path(folder)}/${tenant}`).join(' ');
const body = JSON.stringify({ model: tenants[0]!.tenant, prompt: tenants[0]!.heldOut[0]!.prompt, max_tokens: 48 });
console.log(`
Try it:
  npx peft serve --model ${path(base)} ${adapters} --port 8080
  curl -s localhost:8080/v1/completions -H 'content-type: application/json' -d '${body}'`);

for (const problem of problems) console.error(`not so: ${problem}`);
process.exitCode = problems.length > 0 ? 1 : 0;
