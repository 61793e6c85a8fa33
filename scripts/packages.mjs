// What the checks know about the packages: read from the folders, never listed by hand.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Every package: folder name, path and parsed package.json. */
export const packages = readdirSync(join(root, 'packages'))
  .filter((folder) => existsSync(join(root, 'packages', folder, 'package.json')))
  .map((folder) => {
    const path = join(root, 'packages', folder);
    return { folder, path, manifest: JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')) };
  });

/** Paths of the files under `path` that end in `ending`, relative to it, with forward slashes. */
export function filesUnder(path, ending) {
  if (!existsSync(path)) return [];
  return readdirSync(path, { recursive: true })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith(ending) && !file.includes('node_modules/'));
}

/** The specifiers that a module's text imports, static and dynamic, types included. */
export function importsOf(text) {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const pattern = /(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s*)(['"])([^'"\n]+)\1/gm;
  return [...code.matchAll(pattern)].map(([, , specifier]) => specifier);
}

/** Prints the problems and the closing line of a check, and sets the exit code. */
export function report(check, checked, problems) {
  for (const problem of problems) console.error(problem);
  console.log(`${check}: ${checked}, ${problems.length} problems`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}
