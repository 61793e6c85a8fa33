import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tensor, tensorRef } from '@peftjs/core';
import { writeSafetensors } from '@peftjs/core/files';
import { goldensPath } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { makeBackend } from './goldens/backend.js';
import { type CaseEvent, type ResultEvent, runGoldens } from './goldens/run.js';

const folder = goldensPath() ?? '';
const missing = folder === '';
if (missing) console.warn('skipped: no goldens folder; set PEFTJS_GOLDENS to run its cases.');

async function runAll(at: string, options: { parts?: readonly string[]; name?: string } = {}) {
  const backend = makeBackend('onnxruntime');
  const cases: CaseEvent[] = [];
  let result: ResultEvent | undefined;
  for await (const event of runGoldens({ folder: at, backend, ...options })) {
    if (event.event === 'case') cases.push(event);
    else result = event;
  }
  await backend.dispose();
  return { cases, result: result! };
}

/** A folder of the goldens' layout with three cases: one right, one wrong, one of an unknown kind. */
async function madeUp(use: (at: string) => Promise<void>): Promise<void> {
  const at = await mkdtemp(join(tmpdir(), 'peftjs-goldens-'));
  const write = async (name: string, kind: string, end: number) => {
    const path = join(at, 'methods', 'cases', name);
    await mkdir(path, { recursive: true });
    const schedules = { ramp: { kind: 'linear', warmup_steps: 0, total_steps: 2 } };
    const record = { name, kind, lr: 0.5, schedules, files: { 'expected.safetensors': 0 } };
    await writeFile(join(path, 'case.json'), JSON.stringify(record));
    const rates = tensorRef(tensor('f64', [3], Float64Array.of(0.5, 0.25, end)));
    await writeSafetensors(join(path, 'expected.safetensors'), new Map([['ramp', rates]]));
  };
  try {
    await write('right', 'schedule', 0);
    await write('wrong', 'schedule', 0.125);
    await write('strange', 'no-such-kind', 0);
    const index = [
      { name: 'right', kind: 'schedule' },
      { name: 'wrong', kind: 'schedule' },
      { name: 'strange', kind: 'no-such-kind' },
    ];
    await writeFile(join(at, 'methods', 'index.json'), JSON.stringify(index));
    await use(at);
  } finally {
    await rm(at, { recursive: true, force: true });
  }
}

describe('goldens', () => {
  it.skipIf(missing).each(['methods', 'merge', 'formats'])(
    'every case of %s passes or is of a kind that is named as unsupported',
    async (part) => {
      const { cases, result } = await runAll(folder, { parts: [part] });
      const failed = cases
        .filter(({ status }) => status === 'failed')
        .map(({ name, message }) => `${name}: ${message}`);
      expect(failed).toEqual([]);
      expect(cases.length).toBeGreaterThan(0);
      expect(result.passed + result.unsupported).toBe(cases.length);
      for (const { status, message } of cases) if (status === 'unsupported') expect(message).toBeTruthy();
    },
    600_000,
  );

  it('runs any folder of the layout: right, wrong and unknown kinds', () =>
    madeUp(async (at) => {
      const { cases, result } = await runAll(at);
      expect(result).toMatchObject({ passed: 1, failed: 1, unsupported: 1 });
      expect(result.kinds['no-such-kind']).toEqual({ passed: 0, failed: 0, unsupported: 1 });
      const wrong = cases.find(({ name }) => name === 'wrong')!;
      expect(wrong.status).toBe('failed');
      expect(wrong.message).toContain('ramp: largest difference 1.250e-1');
      const { cases: chosen } = await runAll(at, { name: 'righ' });
      expect(chosen.map(({ name }) => name)).toEqual(['right']);
    }));

  it('refuses a part that there is not', async () => {
    const events = runGoldens({ folder, backend: makeBackend('reference'), parts: ['nothing'] });
    await expect(events.next()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
