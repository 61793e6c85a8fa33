// Installs the locked dependencies when they are missing or older than the lock file, so that one command is enough.
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const installed = `${root}node_modules/.package-lock.json`;
const fresh = existsSync(installed) && statSync(installed).mtimeMs >= statSync(`${root}package-lock.json`).mtimeMs;
if (!fresh) {
  console.log('Installing dependencies (npm ci) …');
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' }; // the CPU binaries are in the package
  execFileSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: 'inherit',
    env,
    shell: process.platform === 'win32',
  });
}
