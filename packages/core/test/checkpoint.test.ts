import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectPeftError } from '../../testkit/src/index.js';
import { newestCheckpoint, type TrainEvent, type TrainOptions, train } from '../src/index.js';
import { killedRun } from './support/killed-run.js';
import { roundedBackend } from './support/rounded.js';
import { tinyLora, tinyModel, tinyRows } from './support/tiny-model.js';

const backend = roundedBackend();
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'checkpoint-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const options = (more: Partial<TrainOptions> = {}): TrainOptions => ({ ...killedRun, backend, ...more });
const uninterrupted = async (more: Partial<TrainOptions> = {}) => {
  const run = train(tinyModel(), options(more));
  const events: TrainEvent[] = [];
  for await (const event of run) if (event.type !== 'checkpoint') events.push(event);
  return { digest: (await run.result()).digest, events };
};

/** What a run shows of the numbers: everything but times. */
const shown = (events: readonly TrainEvent[]) =>
  events
    .filter(({ type }) => type === 'step' || type === 'eval' || type === 'epoch')
    .map((event) => ({ ...event, seconds: 0 }));

describe('checkpoints', () => {
  for (const [name, more] of [
    ['accumulating', {}],
    ['in one program', { gradAccumulation: 1, batchSize: 6 }],
  ] as const)
    it(`give the bits of an uninterrupted run when it is left after any event (${name})`, async () => {
      const whole = await uninterrupted(more);
      const kept = options({ ...more, checkpoint: { directory, every: 7 }, resume: true });
      const seen = new Map<string, TrainEvent>();
      let result: string | undefined;
      for (let parts = 0; result === undefined; parts++) {
        expect(parts).toBeLessThan(60);
        const run = train(tinyModel(), kept);
        let since = 0;
        for await (const event of run) {
          if (event.type === 'step' || event.type === 'eval' || event.type === 'epoch') {
            seen.set(`${event.type} ${event.step}`, { ...event, ...(event.type === 'step' && { seconds: 0 }) });
            if (++since > parts % 3) break; // after one, two or three events
          }
        }
        if (since <= parts % 3) result = (await run.result()).digest;
      }
      expect(result).toBe(whole.digest);
      const expected = new Map(
        whole.events
          .filter((e) => e.type === 'step' || e.type === 'eval' || e.type === 'epoch')
          .map((e) => [`${e.type} ${e.step}`, { ...e, ...(e.type === 'step' && { seconds: 0 }) }]),
      );
      expect(seen).toEqual(expected);
    });

  it('survive SIGKILL at any moment: the run goes on to the same bits', async () => {
    const whole = await uninterrupted();
    const child = fileURLToPath(new URL('support/train-child.ts', import.meta.url));
    const flags = ['--import', import.meta.resolve('tsx'), '--conditions=@peftjs/source'];
    let found = 0;
    for (const wait of [0, 20, 40, 15, 200, 1000, 5000]) {
      if (wait > 100 && found > 0) break; // long waits only where the machine is busy

      const process_ = spawn(process.execPath, [...flags, child, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
      const exited = once(process_, 'exit');
      await once(process_.stdout!, 'data'); // the first update after the start
      await new Promise((resolve) => setTimeout(resolve, wait));
      process_.kill('SIGKILL');
      expect((await exited)[1]).toBe('SIGKILL');
      const path = await newestCheckpoint(directory);
      if (!path) continue; // killed before the first one was whole
      found++;
      expect((await readdir(path)).sort()).toEqual(['state.json', 'tensors.safetensors']);
    }
    expect(found).toBeGreaterThan(0);
    const events: TrainEvent[] = [];
    const run = train(tinyModel(), options({ checkpoint: { directory, every: 1 }, resume: true }));
    for await (const event of run) events.push(event);
    expect(events[0]).toMatchObject({ type: 'start', steps: 20 });
    expect((await run.result()).digest).toBe(whole.digest);
    const tail = shown(whole.events).slice(-shown(events).length);
    expect(shown(events)).toEqual(tail);
    expect(await readdir(directory)).toEqual(['step-00000020']); // nothing is left lying about
  });

  it('are whole when a half-written one lies beside them', async () => {
    const kept = options({ checkpoint: { directory, every: 5 }, resume: true });
    for await (const event of train(tinyModel(), kept)) if (event.type === 'checkpoint') break;
    await cp(join(directory, 'step-00000005'), join(directory, '.step-00000006.new-0a1b2c3d'), { recursive: true });
    await rm(join(directory, '.step-00000006.new-0a1b2c3d', 'state.json'));
    expect(await newestCheckpoint(directory)).toBe(join(directory, 'step-00000005'));
    expect((await train(tinyModel(), kept).result()).digest).toBe((await uninterrupted()).digest);
    expect(await readdir(directory)).toEqual(['step-00000020']);
  });

  it('are written when a run is aborted, and when it ends', async () => {
    const controller = new AbortController();
    const kept = options({ checkpoint: { directory, every: 'epoch' }, signal: controller.signal });
    const events: TrainEvent[] = [];
    const watch = async () => {
      for await (const event of train(tinyModel(), kept)) {
        events.push(event);
        if (event.type === 'step' && event.step === 2) controller.abort();
      }
    };
    await expectPeftError(watch, ['CANCELLED'], ['after step 2']);
    expect(events.at(-1)).toEqual({ type: 'checkpoint', step: 2, path: join(directory, 'step-00000002') });
    const { signal, ...rest } = kept;
    const digest = (await train(tinyModel(), { ...rest, resume: true }).result()).digest;
    expect(digest).toBe((await uninterrupted()).digest);
    // Of a finished run, only the adapter is left to give.
    const again = train(tinyModel(), { ...rest, resume: true });
    const types = [];
    for await (const event of again) types.push(event.type);
    expect(types).toEqual(['start']);
    expect((await again.result()).digest).toBe(digest);
  });

  it('start afresh with a warning when there is none, and say so when the runtime is another', async () => {
    const kept = options({ checkpoint: { directory, every: 5 }, resume: true });
    const warnings: string[] = [];
    for await (const event of train(tinyModel(), kept)) {
      if (event.type === 'warning') warnings.push(event.message);
      if (event.type === 'checkpoint') break;
    }
    const other = { ...kept, backend: { ...backend, name: 'elsewhere' } };
    for await (const event of train(tinyModel(), other)) if (event.type === 'warning') warnings.push(event.message);
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('no checkpoint');
    expect(warnings[1]).toContain('elsewhere');
  });

  it('refuse another configuration, data or base, naming all that differs', async () => {
    const kept = options({ checkpoint: { directory, every: 5 }, resume: true });
    for await (const event of train(tinyModel(), kept)) if (event.type === 'checkpoint') break;
    const changed = {
      ...kept,
      lr: 0.1,
      seed: 3,
      data: tinyRows(26),
      method: tinyLora({ targetModules: ['up'], r: 3, dropout: 0.25 }),
    };
    await expectPeftError(
      () => train(tinyModel(2), changed).result(),
      ['CHECKPOINT_MISMATCH'],
      ['lr is 0.05', '0.1', 'seed', 'methodConfig', 'other rows', 'tiny-1', 'tiny-2'],
    );
    expect(await readdir(directory)).toEqual(['step-00000005']);
  });

  it('refuse the same rows encoded otherwise', async () => {
    const kept = options({ checkpoint: { directory, every: 5 }, resume: true });
    for await (const event of train(tinyModel(), kept)) if (event.type === 'checkpoint') break;
    const model = tinyModel();
    const cut: typeof model.task = {
      ...model.task,
      encode(row, index) {
        const { ids, ...rest } = model.task.encode(row, index);
        return { ...rest, ids: ids.slice(0, 2), length: Math.min(2, ids.length) };
      },
    };
    const error = await expectPeftError(
      () => train({ ...model, task: cut }, kept).result(),
      ['CHECKPOINT_MISMATCH'],
      ['encoded otherwise'],
    );
    expect(error.details.problems).toHaveLength(1);
  });

  it('belong to one run: another in their folder is refused before it replaces them', async () => {
    const kept = options({ checkpoint: { directory, every: 5 } });
    for await (const event of train(tinyModel(), kept)) if (event.type === 'step' && event.step === 3) break;
    const remedies = ['run at step 3', 'resume', directory];
    await expectPeftError(() => train(tinyModel(), { ...kept, seed: 3 }).result(), ['CONFIG_INVALID'], remedies);
    const elsewhere = join(directory, 'elsewhere', 'step-00000003');
    await expectPeftError(() => train(tinyModel(), { ...kept, resume: elsewhere }).result(), ['CONFIG_INVALID']);
    expect(await readdir(directory)).toEqual(['step-00000003']);
    const own = join(directory, 'step-00000003');
    expect((await train(tinyModel(), { ...kept, resume: own }).result()).digest).toBe((await uninterrupted()).digest);
  });

  it('need a folder: a file in its place is found before anything is read', async () => {
    const file = join(directory, 'adapter');
    await writeFile(file, '');
    const kept = options({ checkpoint: { directory: join(file, 'checkpoints') }, data: [] });
    await expectPeftError(() => train(tinyModel(), kept).result(), ['FILE_UNWRITABLE'], [`${file} is a file`]);
  });

  it('are also written after some minutes', async () => {
    const kept = options({ checkpoint: { directory, every: 1000, minutes: 1e-9 }, steps: 3 });
    const steps: number[] = [];
    for await (const event of train(tinyModel(), kept)) if (event.type === 'checkpoint') steps.push(event.step);
    expect(steps).toEqual([1, 2, 3]);
  });

  it('refuse damaged files by name', async () => {
    const kept = options({ checkpoint: { directory, every: 5 }, resume: true });
    for await (const event of train(tinyModel(), kept)) if (event.type === 'checkpoint') break;
    const path = join(directory, 'step-00000005');
    const state = await readFile(join(path, 'state.json'), 'utf8');
    await writeFile(join(path, 'state.json'), state.slice(0, -20));
    await expectPeftError(() => train(tinyModel(), kept).result(), ['FILE_INVALID'], ['state.json']);
    await writeFile(join(path, 'state.json'), state.replace('"step": 5', '"step": -5'));
    await expectPeftError(() => train(tinyModel(), kept).result(), ['FILE_INVALID'], ['progress.step']);
    await expectPeftError(
      () => train(tinyModel(), { ...kept, resume: join(directory, 'step-00000004') }).result(),
      ['FILE_MISSING'],
      ['step-00000004'],
    );
  });
});
