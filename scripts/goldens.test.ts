import { describe, expect, it } from 'vitest';
import { goldensPath } from '../packages/testkit/src/shared.js';
import { makeBackend } from './goldens/backend.js';
import { type CaseEvent, type ResultEvent, runGoldens } from './goldens/run.js';

const folder = goldensPath() ?? '';
const missing = folder === '';
if (missing) console.warn('skipped: no goldens folder; set PEFTJS_GOLDENS to run its cases.');

async function runAll(parts: readonly string[]) {
  const backend = makeBackend('onnxruntime');
  const cases: CaseEvent[] = [];
  let result: ResultEvent | undefined;
  for await (const event of runGoldens({ folder, backend, parts })) {
    if (event.event === 'case') cases.push(event);
    else result = event;
  }
  await backend.dispose();
  return { cases, result: result! };
}

describe('goldens', () => {
  it.skipIf(missing).each(['methods', 'merge', 'formats'])(
    'every case of %s passes or is of a kind that is named as unsupported',
    async (part) => {
      const { cases, result } = await runAll([part]);
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

  it('refuses a part that there is not', async () => {
    const events = runGoldens({ folder, backend: makeBackend('reference'), parts: ['nothing'] });
    await expect(events.next()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
