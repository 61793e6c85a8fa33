import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadPlugins } from '../src/plugins.js';
import { peft } from './run.js';

const fixture = (name: string) => fileURLToPath(new URL(`../../../examples/fixtures/${name}`, import.meta.url));
const { methods } = await loadPlugins([], tmpdir());

describe('every method that comes with the command', () => {
  it.each(methods.map(({ method }) => method.name))('%s trains with its defaults and is read again', async (name) => {
    const adapter = join(mkdtempSync(join(tmpdir(), 'peft-')), 'adapter');
    const task = ['--model', fixture('encoder'), '--task', 'sequence-classification', '--json', '--threads', '1'];
    const data = fixture('train.tsv');
    const run = ['--data', data, '--eval-data', data, '--method', name, '--lr', '1e-2', '--steps', '4'];
    const trained = await peft('train', ...task, ...run, '--output', adapter);
    expect(trained.code, JSON.stringify(trained.events.at(-1))).toBe(0);
    const evaluated = await peft('eval', ...task, '--data', data, '--adapter', adapter);
    const [before, after] = [trained, evaluated].map(({ events }) => events.at(-1)!.metrics as { loss: number });
    expect(after!.loss).toBeCloseTo(before!.loss, 5);
    const inspected = await peft('inspect', adapter, '--json');
    expect(inspected.events.at(-1)).toMatchObject({ method: name, digest: trained.events.at(-1)!.digest });
  });
});
