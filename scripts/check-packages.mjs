// Builds and packs every public package as npm would publish it, and examines the tarballs: publint reads the manifest
// against the files, attw resolves the types as each kind of consumer does, every entry is imported and every README runs as
// installed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packages, report, root } from './packages.mjs';
import { runBlock } from './readme.mjs';

const bin = (name) => join(root, 'node_modules', '.bin', name);
const shell = process.platform === 'win32';
const run = (command, args, cwd = root) => execFileSync(command, args, { cwd, shell, stdio: 'pipe', encoding: 'utf8' });
const folder = mkdtempSync(join(tmpdir(), 'peftjs-packages-'));
const problems = [];
const examined = packages.filter(({ manifest }) => !manifest.private);

/** What the command printed when it fails; nothing when it succeeds. */
function failure(command, args, cwd) {
  try {
    run(command, args, cwd);
    return undefined;
  } catch (error) {
    return `${error.stdout ?? ''}${error.stderr ?? ''}`.trim() || error.message;
  }
}

/** The package as npm would install it, with the dependencies that are its own. */
function unpack(tarball, to, path) {
  mkdirSync(to, { recursive: true });
  run('tar', ['-xzf', tarball, '-C', to, '--strip-components=1']);
  linkOthers(join(path, 'node_modules'), join(to, 'node_modules'));
}

/** Links what `from` has and `to` has not. */
function linkOthers(from, to) {
  if (!existsSync(from)) return;
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (!existsSync(join(to, name))) symlinkSync(join(from, name), join(to, name), 'junction');
  }
}

try {
  execFileSync(bin('turbo'), ['run', 'build'], {
    cwd: root,
    shell,
    stdio: 'inherit',
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: '1' },
  });
  for (const { path, manifest } of examined) {
    const [packed] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], path));
    const tarball = join(folder, packed.filename.replace('@', '').replace('/', '-'));
    for (const [tool, args] of [
      ['publint', ['run', tarball, '--strict']],
      ['attw', [tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-emoji', '--no-color']],
    ]) {
      const output = failure(bin(tool), args);
      if (output) problems.push(`${manifest.name}: ${tool}\n${output}`);
    }
    unpack(tarball, join(folder, 'node_modules', manifest.name), path);
  }
  linkOthers(join(root, 'node_modules'), join(folder, 'node_modules'));
  for (const { manifest } of examined) {
    for (const subpath of Object.keys(manifest.exports)) {
      const entry = join(manifest.name, subpath).replaceAll('\\', '/');
      const how = subpath.endsWith('.json') ? `import('${entry}', { with: { type: 'json' } })` : `import('${entry}')`;
      const output = failure(process.execPath, ['--input-type=module', '-e', `await ${how}`], folder);
      if (output) problems.push(`${entry} cannot be imported\n${output}`);
    }
  }
  for (const { folder: name } of examined) {
    const problem = runBlock(name, join(folder, 'readme'));
    if (problem) problems.push(`as installed, ${problem}`);
  }
} catch (error) {
  problems.push(error.stderr?.trim() || error.message);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
report('packages', `${examined.length} tarballs`, problems);
