import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sharedPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { loadPlugins } from '../src/plugins.js';
import { peft } from './run.js';

const fixture = (name: string) => fileURLToPath(new URL(`../../../examples/fixtures/${name}`, import.meta.url));
const { methods } = await loadPlugins([], tmpdir());

describe('every method that comes with the command', () => {
  it.for(methods.map(({ method }) => method.name))(
    '%s trains with its defaults and is read again',
    { timeout: 180_000 }, // a real base, on a busy machine
    async (name, context) => {
      const adapter = join(mkdtempSync(join(tmpdir(), 'peft-')), 'adapter');
      const data = fixture('train.tsv');
      const taskOf = (model: string) => [
        '--model',
        model,
        '--task',
        'sequence-classification',
        '--json',
        '--threads',
        '1',
      ];
      const run = ['--data', data, '--eval-data', data, '--method', name, '--lr', '1e-2', '--steps', '4'];
      let task = taskOf(fixture('encoder'));
      let trained = await peft('train', ...task, ...run, '--output', adapter);
      if (trained.events.at(-1)?.code === 'CONFIG_INVALID') {
        // A default (a rank, a bottleneck) can be more than layers of width 32 have: then a real base has to do.
        const real = sharedPath('models', 'all-MiniLM-L6-v2');
        if (!real) return context.skip('its defaults need a larger base');
        task = taskOf(real);
        trained = await peft('train', ...task, ...run, '--new-head', '--steps', '2', '--output', adapter);
      }
      expect(trained.code, JSON.stringify(trained.events.at(-1))).toBe(0);
      const evaluated = await peft('eval', ...task, '--data', data, '--adapter', adapter);
      expect(evaluated.code, JSON.stringify(evaluated.events.at(-1))).toBe(0);
      const [before, after] = [trained, evaluated].map(({ events }) => events.at(-1)!.metrics as { loss: number });
      expect(after!.loss).toBeCloseTo(before!.loss, 5);
      const inspected = await peft('inspect', adapter, '--json');
      expect(inspected.events.at(-1)).toMatchObject({ method: name, digest: trained.events.at(-1)!.digest });
    },
  );
});
