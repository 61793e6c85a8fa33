// Runs the first TypeScript block of README pages, each in a fresh folder with the contents of examples/fixtures and
// the demo's base model, so that what a reader sees first is what works.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { transformSync } from 'esbuild';
import { firstBlock } from './markdown.mjs';
import { packages, root } from './packages.mjs';

/** README pages of the repository (`root`) and of the packages, by name. */
export const pages = new Map([
  ['root', join(root, 'README.md')],
  ...packages.map(({ folder, path }) => [folder, join(path, 'README.md')]),
]);

/**
 * Runs the first block of a page in `parent`/NAME, whose imports resolve from there.
 * @param node arguments of node before the program
 * @returns what went wrong, or undefined
 */
export function runBlock(name, parent, node = []) {
  const page = pages.get(name);
  const block = page && existsSync(page) ? firstBlock(readFileSync(page, 'utf8')) : undefined;
  if (!block) return `${name}: README.md has no ts block`;
  const folder = join(parent, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'examples', 'fixtures'), folder, { recursive: true });
  cpSync(join(root, 'examples', 'demo', 'base'), join(folder, 'base'), { recursive: true });
  writeFileSync(join(folder, 'readme.mjs'), transformSync(block, { loader: 'ts', target: 'node20' }).code);
  const options = { cwd: folder, encoding: 'utf8', timeout: 300_000 };
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...node, 'readme.mjs'], options);
  return status === 0 ? undefined : `${name}: ended with ${status ?? signal}\n${stdout}${stderr}`;
}
