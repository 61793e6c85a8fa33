import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { weighted } from '../src/adapters.js';
import { integer, list, number, pairs, repeated } from '../src/fields.js';
import { camelCase, kebabCase, snakeCase } from '../src/names.js';
import { resolveOptions } from '../src/options.js';
import { createOutput, printed } from '../src/output.js';
import { settings, targetModules } from '../src/settings.js';

describe('fields', () => {
  it('read text and values alike', () => {
    expect(number().parse('1e-3')).toBe(0.001);
    expect(number().parse(2)).toBe(2);
    expect(integer(1).safeParse('1.5').success).toBe(false);
    expect(number().safeParse('').success).toBe(false);
    expect(list().parse('a, b')).toEqual(['a', 'b']);
    expect(repeated().parse('a')).toEqual(['a']);
    expect(repeated().parse(undefined)).toEqual([]);
  });

  it('read pairs from flags and from mappings', () => {
    expect(pairs().parse(['r=8', 'init=a=b'])).toEqual({ r: '8', init: 'a=b' });
    expect(pairs(',').parse('text=sentence,label=y')).toEqual({ text: 'sentence', label: 'y' });
    expect(pairs().parse({ r: 8 })).toEqual({ r: 8 });
    expect(z.object({ set: pairs() }).safeParse({ set: ['r'] }).error?.issues[0]?.message).toBe('expected KEY=VALUE');
  });

  it('give settings the values that YAML would', () => {
    const given = {
      r: '8',
      rslora: 'true',
      init: 'gaussian',
      modules: 'q_proj,v_proj',
      rule: '.*\\.(q|v)_proj',
      all: '[1, 2]',
      n: 4,
    };
    expect(settings(given)).toEqual({
      r: 8,
      rslora: true,
      init: 'gaussian',
      modules: ['q_proj', 'v_proj'],
      rule: '.*\\.(q|v)_proj',
      all: [1, 2],
      n: 4,
    });
  });

  it('tell target names from rules', () => {
    expect(targetModules(['query'])).toEqual(['query']);
    expect(targetModules(['all-linear'])).toBe('all-linear');
    expect(targetModules(['.*\\.q_proj'])).toBe('.*\\.q_proj');
  });

  it('split weights from adapter paths', () => {
    expect(weighted('./a:0.5')).toEqual({ path: './a', weight: 0.5 });
    expect(weighted('./a:-1')).toEqual({ path: './a', weight: -1 });
    expect(weighted('C:\\a')).toEqual({ path: 'C:\\a', weight: 1 });
  });
});

describe('options', () => {
  const schema = z.object({
    config: z.string().optional().meta({ flags: '--config <file>', description: '' }),
    lr: number().meta({ flags: '--lr <rate>', description: '' }),
    score: z.string().optional().meta({ flags: '--score <command>', description: '', typedOnly: true }),
  });
  const file = (text: string) => {
    const path = join(mkdtempSync(join(tmpdir(), 'peftjs-options-')), 'o.yml');
    writeFileSync(path, text);
    return path;
  };

  it('come from a file, except those that run a program', async () => {
    expect(await resolveOptions(schema, { config: file('lr: 0.5') })).toMatchObject({ lr: 0.5 });
    await expect(resolveOptions(schema, { config: file('lr: 1\nscore: ./run.sh') })).rejects.toThrow(
      'score runs a program: give it on the command line',
    );
  });
});

describe('names', () => {
  it.each(['batchSize', 'trainableAdapter', 'lr'])('%s keeps its meaning through every spelling', (key) => {
    expect(camelCase(snakeCase(key))).toBe(key);
    expect(camelCase(kebabCase(key))).toBe(key);
  });
});

describe('output', () => {
  const write = (options: { json: boolean; quiet: boolean }, isTTY = false) => {
    const text = { stdout: '', stderr: '' };
    const stream = (name: keyof typeof text) => ({
      write(piece: string) {
        text[name] += piece;
      },
    });
    const stdout = stream('stdout');
    const stderr = { ...stream('stderr'), isTTY, columns: 20 };
    const output = createOutput({ stdout, stderr }, options);
    output.event('step', { gradNorm: 1, loss: Number.NaN, ids: Int32Array.of(1, 2), big: 3n });
    output.data('data');
    output.progress('working on a line that is too long');
    output.talk('talk');
    return text;
  };

  it('prints events in snake_case as JSON that anyone can read, and no data, under --json', () => {
    expect(write({ json: true, quiet: false })).toEqual({
      stdout: '{"event":"step","grad_norm":1,"loss":null,"ids":[1,2],"big":3}\n',
      stderr: 'talk\n',
    });
    expect(printed({ a: { camelCase: 1 } })).toEqual({ a: { camelCase: 1 } });
  });

  it('prints data alone on standard output, talk on standard error, progress on terminals only', () => {
    expect(write({ json: false, quiet: false })).toEqual({ stdout: 'data\n', stderr: 'talk\n' });
    expect(write({ json: false, quiet: true }, true)).toEqual({ stdout: 'data\n', stderr: '' });
    expect(write({ json: false, quiet: false }, true).stderr).toContain('working on a line t\r');
  });
});
