// Writes docs/methods, a page for every method of the packages and one of them all, and docs/deltas.md, from schemas,
// papers and benchmarks.
// `npm run docs` writes them, `npm run docs -- --check` says which are out of date.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reached, stepsSeen } from '../../benchmarks/methods/figures.js';
import { allPlugins } from '../methods.js';
import { deltasPage } from './deltas-page.js';
import { methodPage } from './method-page.js';
import { overviewPage } from './overview-page.js';
import { wrapperPage } from './wrapper-page.js';

const folder = fileURLToPath(new URL('../../docs', import.meta.url));
const check = process.argv.includes('--check');
mkdirSync(join(folder, 'methods'), { recursive: true });
const [scores, steps] = [reached(), stepsSeen()];
const methods = new Map<string, string>();
for (const { plugin, manifest } of await allPlugins()) {
  for (const { method } of plugin.methods ?? []) methods.set(method.name, methodPage(method, manifest, scores, steps));
  for (const wrapper of plugin.wrappers ?? []) methods.set(wrapper.name, wrapperPage(wrapper, manifest));
}
const pages = [
  ...[...methods].map(([name, text]) => ({ file: `methods/${name}.md`, text })),
  { file: 'methods/README.md', text: overviewPage([...methods.keys()].sort(), scores, steps) },
  { file: 'deltas.md', text: deltasPage() },
];

const stale = pages.filter(({ file, text }) => {
  const path = join(folder, file);
  return !existsSync(path) || readFileSync(path, 'utf8') !== text;
});
for (const { file, text } of check ? [] : stale) writeFileSync(join(folder, file), text);
if (stale.length > 0) console.log(`${check ? 'Out of date' : 'Written'}: ${stale.map(({ file }) => file).join(', ')}`);
if (check && stale.length > 0) {
  console.error('Run npm run docs.');
  process.exitCode = 1;
}
