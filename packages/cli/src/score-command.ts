import { spawn } from 'node:child_process';
import { PeftError } from '@peftjs/core';

/** Where a command is told what it scores. */
const placeholder = '{}';

/** A path as one word of a shell. */
const quoted = (path: string): string =>
  process.platform === 'win32' ? `"${path}"` : `'${path.replaceAll("'", "'\\''")}'`;

/**
 * The score that a shell command gives what lies at a path: the last word of its output, so that a tool which prints
 * `accuracy 0.93` at its end will do as it is. `{}` stands for the path; without it the path comes last.
 * @throws PeftError CONFIG_INVALID when the command fails or prints no number
 */
export async function scoreOf(command: string, path: string, signal: AbortSignal): Promise<number> {
  const line = command.includes(placeholder)
    ? command.replaceAll(placeholder, quoted(path))
    : `${command} ${quoted(path)}`;
  const child = spawn(line, { shell: true, stdio: ['ignore', 'pipe', 'inherit'], signal });
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    printed += piece;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  const word = printed.trim().split(/\s+/).at(-1) ?? '';
  const score = word === '' ? Number.NaN : Number(word);
  if (code === 0 && !Number.isNaN(score)) return score;
  const reason =
    code === 0 ? `its output ends with ${JSON.stringify(word)}, which is no number` : `it ended with ${code}`;
  throw new PeftError('CONFIG_INVALID', `The score command ${JSON.stringify(line)} gave no score: ${reason}.`, {
    details: { command: line, code },
  });
}
