// Packages look alike: the same files, the same manifest, a README that starts the same way, and a changeset or a
// changelog for each. And docs/errors.md explains every error code.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { firstBlock } from './markdown.mjs';
import { packages, report, root } from './packages.mjs';

const files = ['README.md', 'package.json', 'tsconfig.build.json', 'src/index.ts'];
/** Fields that have one right value. */
const fixed = {
  license: 'Apache-2.0',
  type: 'module',
  sideEffects: false,
  engines: { node: '>=20.19' },
  scripts: { build: 'tsup --config ../../tsup.shared.ts && tsc -p tsconfig.build.json --noCheck' },
};
const changesets = readdirSync(join(root, '.changeset'))
  .filter((file) => file.endsWith('.md') && file !== 'README.md')
  .map((file) => readFileSync(join(root, '.changeset', file), 'utf8').split('---')[1] ?? '');

const problems = packages.flatMap((item) =>
  [...missingFiles(item), ...manifestProblems(item), ...exportProblems(item), ...readmeProblems(item)].map(
    (problem) => `packages/${item.folder}: ${problem}`,
  ),
);
problems.push(...errorProblems());
report('alike', `${packages.length} packages`, problems);

function missingFiles({ path, manifest }) {
  const missing = files.filter((file) => !existsSync(join(path, file))).map((file) => `${file} is missing`);
  const told =
    existsSync(join(path, 'CHANGELOG.md')) || changesets.some((text) => text.includes(`'${manifest.name}':`));
  return told ? missing : [...missing, `no changeset and no CHANGELOG.md names ${manifest.name}`];
}

function manifestProblems({ folder, manifest }) {
  const problems = Object.entries(fixed)
    .filter(([field, value]) => JSON.stringify(manifest[field]) !== JSON.stringify(value))
    .map(([field, value]) => `"${field}" is ${JSON.stringify(manifest[field])}, expected ${JSON.stringify(value)}`);
  if (manifest.name !== `@peftjs/${folder}`) problems.push(`"name" is ${manifest.name}, expected @peftjs/${folder}`);
  if (!/^\d+\.\d+\.\d+/.test(manifest.version ?? '')) problems.push('"version" is not a version');
  if (!manifest.description?.endsWith('.')) problems.push('"description" is not a sentence');
  for (const file of ['dist', 'src']) {
    if (!manifest.files?.includes(file)) problems.push(`"files" lacks ${file}`);
  }
  if (!manifest.peftjs?.platforms?.includes('node')) problems.push('"peftjs.platforms" does not say where it runs');
  // turbo orders builds by dependencies and devDependencies; it does not see peers.
  for (const peer of Object.keys(manifest.peerDependencies ?? {}).filter((name) => name.startsWith('@peftjs/'))) {
    if (!manifest.devDependencies?.[peer]) problems.push(`peer ${peer} is not among the devDependencies`);
  }
  return problems;
}

function exportProblems({ path, manifest }) {
  const problems = [];
  for (const [subpath, target] of Object.entries(manifest.exports ?? {})) {
    if (subpath === './package.json') continue;
    const keys = Object.keys(target).join(', ');
    if (keys !== '@peftjs/source, types, default') problems.push(`exports "${subpath}" has ${keys}`);
    else if (!existsSync(join(path, target['@peftjs/source']))) problems.push(`exports "${subpath}": no source file`);
  }
  if (manifest.exports?.['./package.json'] !== './package.json') problems.push('exports lacks ./package.json');
  return problems;
}

/** Title, one sentence, the install line, about ten lines of TypeScript. */
function readmeProblems({ path, manifest }) {
  if (!existsSync(join(path, 'README.md'))) return [];
  const text = readFileSync(join(path, 'README.md'), 'utf8');
  const [title, sentence, install] = text.split('\n\n').map((part) => part.trim());
  const problems = [];
  if (title !== `# ${manifest.name}`) problems.push(`README.md does not start with "# ${manifest.name}"`);
  if (!sentence?.endsWith('.') || sentence.includes('\n')) problems.push('README.md has no opening sentence');
  if (!install?.startsWith('```sh\nnpm i') || install.split('\n').length !== 3 || !install.includes(manifest.name)) {
    problems.push(`README.md has no install line for ${manifest.name} after its opening sentence`);
  }
  const lines = firstBlock(text)?.split('\n').length ?? 0;
  if (lines < 5 || lines > 24) problems.push(`README.md: the first ts block has ${lines} lines, about ten are wanted`);
  return problems;
}

/** Codes declared in core and codes explained in the documentation are the same. */
function errorProblems() {
  const source = readFileSync(join(root, 'packages', 'core', 'src', 'errors.ts'), 'utf8');
  const declared = new Set([...source.matchAll(/^\s*\| '([A-Z_]+)'/gm)].map(([, code]) => code));
  const page = readFileSync(join(root, 'docs', 'errors.md'), 'utf8');
  const explained = new Set([...page.matchAll(/^\| `([A-Z_]+)`/gm)].map(([, code]) => code));
  return [
    ...[...declared].filter((code) => !explained.has(code)).map((code) => `docs/errors.md does not explain ${code}`),
    ...[...explained]
      .filter((code) => !declared.has(code))
      .map((code) => `docs/errors.md explains ${code}, no error has it`),
  ];
}
