// Writes docs/methods: a page for every method of the packages and one of them all, from schemas, papers and benchmarks.
// `npm run docs` writes them, `npm run docs -- --check` says which are out of date.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from '@peftjs/core';
import { packages } from '../packages.mjs';
import { reached, stepsSeen } from './figures.js';
import { methodPage } from './method-page.js';
import { overviewPage } from './overview-page.js';

const folder = fileURLToPath(new URL('../../docs/methods', import.meta.url));
const check = process.argv.includes('--check');
mkdirSync(folder, { recursive: true });
const [scores, steps] = [reached(), stepsSeen()];
const pages = new Map<string, string>();
for (const { path, manifest } of packages) {
  const entry = join(path, 'src', 'index.ts');
  if (!existsSync(entry) || !readFileSync(entry, 'utf8').includes('definePlugin')) continue;
  const { default: plugin } = (await import(entry)) as { default?: Plugin };
  for (const { method } of plugin?.methods ?? []) pages.set(method.name, methodPage(method, manifest, scores, steps));
}
const names = [...pages.keys()].sort();
pages.set('README', overviewPage(names, scores, steps));

const stale = [...pages].filter(([name, text]) => {
  const file = join(folder, `${name}.md`);
  return !existsSync(file) || readFileSync(file, 'utf8') !== text;
});
for (const [name, text] of check ? [] : stale) writeFileSync(join(folder, `${name}.md`), text);
if (stale.length > 0)
  console.log(`${check ? 'Out of date' : 'Written'}: ${stale.map(([name]) => `${name}.md`).join(', ')}`);
if (check && stale.length > 0) {
  console.error('Run npm run docs.');
  process.exitCode = 1;
}
