import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { PeftError } from '@peftjs/core';
import * as z from 'zod';
import { defineCommand } from '../command.js';
import { common } from '../common.js';

/** The nearest folder `benchmarks` from here upwards. */
function benchmarksFrom(directory: string): string | undefined {
  const path = join(directory, 'benchmarks');
  if (existsSync(path)) return path;
  return dirname(directory) === directory ? undefined : benchmarksFrom(dirname(directory));
}

/** A benchmark is a folder with an index.ts. */
const namesIn = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(folder, entry.name, 'index.ts')))
    .map(({ name }) => name);

/** The last line of a benchmark is its report as JSON. */
function reportOf(line: string): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return {};
  }
}

export const bench = defineCommand({
  name: 'bench',
  summary: 'runs a benchmark of the repository by name',
  arguments: [['<name>', 'folder of benchmarks/']],
  options: z.object(common),
  async run(o, { output, signal }, [name = '']) {
    const folder = benchmarksFrom(process.cwd());
    const names = folder ? namesIn(folder) : [];
    if (!folder || !names.includes(name)) {
      const known = names.join(', ') || 'none; run this in a checkout of the repository';
      throw new PeftError('CONFIG_INVALID', `There is no benchmark ${JSON.stringify(name)}; known: ${known}.`, {
        details: { names },
      });
    }
    const args = ['--import', 'tsx', '--conditions=@peftjs/source', join(folder, name, 'index.ts')];
    const child = spawn(process.execPath, args, {
      cwd: dirname(folder),
      stdio: ['ignore', 'pipe', o.quiet ? 'ignore' : 'inherit'],
    });
    const stop = () => child.kill('SIGINT');
    signal.addEventListener('abort', stop, { once: true });
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    let last = '';
    for await (const line of createInterface({ input: child.stdout })) {
      output.data(line);
      last = line;
    }
    const code = await ended;
    if (code !== 0)
      throw new PeftError('INTERNAL', `The benchmark ${name} ended with ${code ?? 'a signal'}.`, {
        details: { name, code },
      });
    return { name, ...reportOf(last) };
  },
});
