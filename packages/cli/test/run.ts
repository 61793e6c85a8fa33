import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { main } from '../src/index.js';

export const bin = fileURLToPath(new URL('../bin/peft.mjs', import.meta.url));

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Lines of standard output as JSON, when they are. */
  readonly events: readonly Record<string, unknown>[];
}

const eventsOf = (stdout: string): Record<string, unknown>[] =>
  stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

/** Runs a command line in this process. */
export async function peft(...argv: string[]): Promise<Outcome> {
  const text = { stdout: '', stderr: '' };
  const stream = (name: keyof typeof text) => ({
    write(piece: string) {
      text[name] += piece;
    },
  });
  const code = await main(argv, { stdout: stream('stdout'), stderr: stream('stderr'), exit() {} });
  return { code, ...text, events: eventsOf(text.stdout) };
}

/** Starts the program itself; `onLine` sees standard output line by line. */
export function start(
  argv: readonly string[],
  onLine: (line: string, interrupt: () => void) => void,
): Promise<Outcome> {
  const child = spawn(process.execPath, [bin, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    const before = text.stdout.lastIndexOf('\n') + 1;
    text.stdout += piece;
    const lines = text.stdout.slice(before).split('\n').slice(0, -1);
    for (const line of lines) onLine(line, () => child.kill('SIGINT'));
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    text.stderr += piece;
  });
  return new Promise((resolve) => {
    child.on('close', (code) => resolve({ code: code ?? -1, ...text, events: eventsOf(text.stdout) }));
  });
}
