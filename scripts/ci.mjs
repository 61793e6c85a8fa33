// Everything a change has to pass, on one machine: .ci/run [STEP ...]. Ends with one line, `N passed, N failed`: the
// tests, and one for each check. Steps run one after the other, because each of them uses all processors.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const shared = process.env.PEFTJS_SHARED ?? join(root, '..', 'shared');
const env = { ...process.env, TURBO_TELEMETRY_DISABLED: '1', DO_NOT_TRACK: '1', PEFTJS_SHARED: shared };

/** The README's test command counts its own tests; every other step is one check. */
const steps = {
  test: ['npm', 'test'],
  types: ['npm', 'run', '--silent', 'typecheck'],
  lint: ['npm', 'run', '--silent', 'lint'],
  lock: ['npm', 'run', '--silent', 'check:lock'],
  floors: ['npm', 'run', '--silent', 'check:floors'],
  alike: ['npm', 'run', '--silent', 'check:alike'],
  unused: ['npm', 'run', '--silent', 'knip'],
  browser: ['npm', 'run', '--silent', 'check:browser'],
  packages: ['npm', 'run', '--silent', 'check:packages'],
  readme: ['npm', 'run', '--silent', 'check:readme'],
  docs: ['npm', 'run', '--silent', 'docs', '--', '--check'],
  examples: ['npm', 'run', '--silent', 'examples'],
  demo: ['npm', 'run', '--silent', 'demo'],
};

/** Runs a command, shows its output and hands back the exit code and the output's last `N passed, N failed`. */
function run([command, ...args]) {
  return new Promise((done) => {
    const child = spawn(command, args, {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
      shell: process.platform === 'win32',
    });
    let tail = '';
    child.stdout.on('data', (chunk) => {
      process.stdout.write(chunk);
      tail = (tail + chunk).slice(-4096);
    });
    child.on('error', (error) => done({ code: 1, error }));
    child.on('close', (code) => done({ code: code ?? 1, counts: /(\d+) passed, (\d+) failed[^\n]*\s*$/.exec(tail) }));
  });
}

/** A real base model for the tests that know one, where the machine can bring it; its absence fails nothing. */
function fetchSmolLM2() {
  const script = join(shared, 'models', 'fetch-smollm2.mjs');
  if (env.PEFTJS_SMOLLM2 || !existsSync(script) || spawnSync('python3', ['--version']).status !== 0) return;
  const folder = join(root, '.cache', 'smollm2');
  const ready = join(folder, 'hf', 'tokenizer_config.json'); // written last
  if (!existsSync(ready)) spawnSync(process.execPath, [script, folder], { stdio: ['ignore', 2, 2], timeout: 300_000 });
  if (existsSync(ready)) env.PEFTJS_SMOLLM2 = join(folder, 'hf');
  else console.log('SmolLM2 could not be fetched: its tests are skipped.');
}

/** A browser for the tests that drive one, where this machine may install it; its absence fails nothing. */
function installChromium() {
  const place = env.PEFTJS_CHROMIUM ?? '/usr/bin/chromium';
  if (existsSync(place) || process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return;
  const options = { env: { ...env, DEBIAN_FRONTEND: 'noninteractive' }, stdio: 'ignore', timeout: 150_000 };
  for (const task of [['update'], ['install', '-y', '--no-install-recommends', 'chromium']])
    spawnSync('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=60', ...task], options);
  if (!existsSync(place)) console.log('Chromium could not be installed: tests in a browser are skipped.');
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !(name in steps));
if (unknown.length > 0) {
  console.error(`unknown step ${unknown.join(', ')}; there are ${Object.keys(steps).join(', ')}`);
  process.exit(2);
}
const selected = Object.entries(steps).filter(([name]) => wanted.length === 0 || wanted.includes(name));
if (selected.some(([name]) => name === 'test')) {
  fetchSmolLM2();
  installChromium();
}

let passed = 0;
let failed = 0;
const summary = [];
for (const [name, command] of selected) {
  console.log(`\n== ${name}: ${command.join(' ')}`);
  const started = Date.now();
  const { code, counts, error } = await run(command);
  if (error) console.error(error.message);
  const fine = counts ? Number(counts[1]) : Number(code === 0);
  // A step that fails without counting a failure (a crash before its end) is one.
  const bad = counts ? Math.max(Number(counts[2]), Number(code !== 0)) : Number(code !== 0);
  passed += fine;
  failed += bad;
  summary.push(
    `${bad ? 'FAILED' : 'passed'}  ${name.padEnd(9)} ${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${fine} passed, ${bad} failed`,
  );
}
console.log(`\n${summary.join('\n')}\n\n${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
