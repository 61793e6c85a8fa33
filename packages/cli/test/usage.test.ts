import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commands } from '../src/commands/index.js';
import { bin, peft } from './run.js';

const file = (name: string, text: string): string => {
  const path = join(mkdtempSync(join(tmpdir(), 'peft-')), name);
  writeFileSync(path, text);
  return path;
};

describe('usage', () => {
  it('explains itself, on standard output, with exit code 0', async () => {
    const { code, stdout } = await peft('--help');
    expect(code).toBe(0);
    for (const { name } of commands) expect(stdout).toContain(name);
  });

  it.each(commands.map(({ name }) => name))('%s --help names its options and the common ones', async (name) => {
    const { code, stdout } = await peft(name, '--help');
    expect(code).toBe(0);
    for (const flag of ['--json', '--quiet', '--seed', '--device', '--backend', '--threads', '--config'])
      expect(stdout).toContain(flag);
  });

  it.each([
    ['no command', []],
    ['an unknown command', ['fly']],
    ['an unknown option', ['train', '--wings', '2']],
    ['missing options', ['train', '--lr', '1']],
    [
      'a value of the wrong kind',
      ['eval', '--model', 'x', '--task', 'causal-lm', '--data', 'x.csv', '--batch-size', 'many'],
    ],
    ['an argument too many', ['inspect', 'a', 'b']],
    ['a config file that is not there', ['train', '--config', 'nowhere.yml']],
    ['an unknown merge method', ['merge', '--method', 'magic', '--base', 'a', '--models', 'b', '--output', 'c']],
  ])('%s is exit code 2', async (_, argv) => {
    const { code, stdout, stderr } = await peft(...argv);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).not.toBe('');
  });

  it('names everything that is wrong at once', async () => {
    const { stderr } = await peft('train', '--lr', 'fast', '--batch-size', '0');
    for (const problem of ['--model is missing', '--task is missing', '--lr:', '--batch-size:'])
      expect(stderr).toContain(problem);
  });

  it('lists the schedules there are', async () => {
    const { code, stderr } = await peft('train', '--schedule', 'lineer');
    expect(code).toBe(2);
    expect(stderr).toContain('--schedule: must be constant, linear, cosine, cosine-with-restarts, polynomial');
  });

  it('ends with an error event under --json', async () => {
    const wrong = await peft('train', '--json');
    expect(wrong.events.at(-1)).toMatchObject({
      event: 'error',
      code: 'USAGE',
      message: expect.stringContaining('--model'),
    });
    const missing = await peft('inspect', '/nowhere/at/all', '--json');
    expect(missing.code).toBe(1);
    expect(missing.events).toEqual([
      { event: 'error', code: 'FILE_MISSING', message: expect.any(String), details: { path: '/nowhere/at/all' } },
    ]);
  });

  it('reads options from YAML in any spelling; the command line comes first; unknown keys are refused', async () => {
    const good = file('a.yml', 'model: nowhere\ntask: causal-lm\ndata: none.csv\nbatch_size: 4\nmax-length: 9\n');
    const found = await peft('eval', '--config', good, '--json');
    expect(found.events.at(-1)).toMatchObject({ code: 'FILE_MISSING', message: expect.stringContaining('nowhere') });
    const both = await peft('eval', '--config', good, '--model', 'elsewhere', '--json');
    expect(both.events.at(-1)).toMatchObject({ message: expect.stringContaining('elsewhere') });
    const bad = await peft('eval', '--config', file('b.yml', 'model: x\nbatchsize: 4\n'));
    expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining('--batchsize') });
  });

  it('ends as it would have when nobody reads it any more', async () => {
    const child = spawn(process.execPath, [bin, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let talk = '';
    child.stderr.setEncoding('utf8').on('data', (piece: string) => (talk += piece));
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(talk).toBe('');
  });
});
