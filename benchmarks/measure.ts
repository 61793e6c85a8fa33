import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

/** One process from its start to its end. Memory in bytes: the largest seen, sampled; undefined off Linux. */
export interface Measured {
  readonly seconds: number;
  readonly anonymous: number | undefined;
  /** Anonymous plus file pages, shared ones counted in proportion. */
  readonly pss: number | undefined;
  readonly stdout: string;
}

const kilobytes = (text: string, field: string): number =>
  Number(text.match(new RegExp(`^${field}:\\s+(\\d+)`, 'm'))?.[1] ?? 0);

/** The memory of a process and its children. */
function memoryOf(pid: number): { anonymous: number; pss: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    const own = { anonymous: kilobytes(text, 'Anonymous') * 1024, pss: kilobytes(text, 'Pss') * 1024 };
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
    return children
      .map((c) => memoryOf(Number(c)))
      .reduce<typeof own>((a, c) => (c ? { anonymous: a.anonymous + c.anonymous, pss: a.pss + c.pss } : a), own);
  } catch {
    return undefined; // ended meanwhile, or no /proc
  }
}

/** Runs a command to its end, sampling its memory ten times a second. @throws Error with its standard error */
export async function measure(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Measured> {
  const started = performance.now();
  const child: ChildProcess = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout?.on('data', (chunk) => (stdout += chunk));
  child.stderr?.on('data', (chunk) => (stderr += chunk));
  let [anonymous, pss] = [0, 0];
  const timer = setInterval(() => {
    const now = child.pid === undefined ? undefined : memoryOf(child.pid);
    if (!now) return;
    anonymous = Math.max(anonymous, now.anonymous);
    pss = Math.max(pss, now.pss);
  }, 100);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  }).finally(() => clearInterval(timer));
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${stderr.slice(-2000)}`);
  const seconds = (performance.now() - started) / 1000;
  return { seconds, anonymous: anonymous || undefined, pss: pss || undefined, stdout };
}

/** Builds the packages, so that what is measured is what is installed. */
export const build = (): Promise<Measured> =>
  measure('npx', ['turbo', 'run', 'build', '--output-logs=errors-only'], { TURBO_TELEMETRY_DISABLED: '1' });

/** A Python with the given modules: `PEFTJS_PYTHON`, or python3. */
export async function findPython(...modules: string[]): Promise<string | undefined> {
  for (const python of [process.env.PEFTJS_PYTHON, 'python3']) {
    if (!python || (python.includes('/') && !existsSync(python))) continue;
    const found = await measure(python, [
      '-c',
      modules.map((m) => `import importlib.util as u; assert u.find_spec("${m}")`).join(';'),
    ]).catch(() => undefined);
    if (found) return python;
  }
  return undefined;
}

export const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
