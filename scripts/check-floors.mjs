// Which file may import which. In core a file imports from its own floor or below; between packages arrows point one
// way; and every import is declared in the package's own package.json.
import { readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { filesUnder, importsOf, packages, report } from './packages.mjs';

/** From the ground up. Files beside the folders (errors, run) lie below all of them, index.ts above. */
const floors = ['tensor', 'files', 'graph', 'autodiff', 'backend', 'delta', 'optim', 'adapter', 'peft', 'train'];
const floorOf = (file) => (file === 'index.ts' ? floors.length : floors.indexOf(file.split('/')[0]));

/** Workspace packages that a package's source may import; `core` alone where nothing is said. Methods are such packages. */
const arrows = {
  core: [],
  serve: ['core', 'models', 'onnxruntime'],
  cli: packages.map(({ folder }) => folder),
};

const problems = [];
let files = 0;
for (const { folder, path, manifest } of packages) {
  const { dependencies, peerDependencies, optionalDependencies, imports } = manifest;
  const declared = new Set(Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies }));
  const allowed = arrows[folder] ?? ['core'];
  for (const file of filesUnder(join(path, 'src'), '.ts')) {
    files++;
    const at = `packages/${folder}/src/${file}`;
    for (const specifier of importsOf(readFileSync(join(path, 'src', file), 'utf8'))) {
      const problem = specifier.startsWith('.')
        ? folder === 'core' && climbs(file, specifier)
        : strays(specifier, manifest.name, allowed, declared, imports);
      if (problem) problems.push(`${at}: imports ${specifier}: ${problem}`);
    }
  }
}
report('floors', `${files} files`, problems);

function climbs(file, specifier) {
  const target = posix.join(dirname(file), specifier);
  if (floorOf(target) <= floorOf(file)) return undefined;
  return `${target.split('/')[0]} lies above ${file.split('/')[0]}`;
}

function strays(specifier, self, allowed, declared, imports) {
  if (specifier.startsWith('node:')) return undefined; // check-browser.mjs decides where
  if (specifier.startsWith('#')) return imports?.[specifier] ? undefined : 'not among "imports" of package.json';
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  if (name === self) return 'a package imports itself by relative paths';
  if (name.startsWith('@peftjs/') && !allowed.includes(name.slice('@peftjs/'.length))) return 'no arrow points there';
  return declared.has(name) ? undefined : 'not declared in package.json';
}
