// Runs the first TypeScript block of every README from source, each in a fresh folder with the contents of
// examples/fixtures and the demo's base model, so that what a reader sees first is what works. Arguments select by package folder; `root` is the README of the repository.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstBlock } from './markdown.mjs';
import { packages, report, root } from './packages.mjs';

const selected = process.argv.slice(2);
const pages = [{ name: 'root', path: root }, ...packages.map(({ folder, path }) => ({ name: folder, path }))];
const problems = [];
let ran = 0;

for (const { name, path } of pages.filter((page) => selected.length === 0 || selected.includes(page.name))) {
  const page = join(path, 'README.md');
  const block = existsSync(page) ? firstBlock(readFileSync(page, 'utf8')) : undefined;
  if (!block) {
    problems.push(`${name}: README.md has no ts block`);
    continue;
  }
  // Inside the repository, so that the block's imports resolve to the workspace packages.
  const folder = join(root, '.cache', 'readme', name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'examples', 'fixtures'), folder, { recursive: true });
  cpSync(join(root, 'examples', 'demo', 'base'), join(folder, 'base'), { recursive: true });
  writeFileSync(join(folder, 'readme.ts'), `${block}\n`);
  const child = spawnSync(process.execPath, [join(root, 'scripts', 'run.mjs'), 'readme.ts'], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 300_000,
  });
  ran++;
  if (child.status === 0) console.log(`${name}: ran`);
  else problems.push(`${name}: ended with ${child.status ?? child.signal}\n${child.stdout}${child.stderr}`);
}
report('readme blocks', `${ran} blocks`, problems);
