// Builds and packs every public package as npm would publish it, and examines the tarballs: publint reads the manifest
// against the files, attw resolves the types as each kind of consumer does.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packages, report, root } from './packages.mjs';

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
  }
} catch (error) {
  problems.push(error.stderr?.trim() || error.message);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
report('packages', `${examined.length} tarballs`, problems);
