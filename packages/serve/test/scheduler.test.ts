import { PeftError } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { createScheduler, type SchedulerOptions, type Sequence } from '../src/engine/scheduler.js';
import { createSlotTable } from '../src/engine/slots.js';
import type { Step } from '../src/engine/step.js';

const sampling = { temperature: 0, topP: 1, seed: 0 };

/** A model that counts: a sequence's tokens are 100 × its slot + 0, 1, 2, ... */
function countingModel() {
  const steps: Step[] = [];
  const live = new Map<number, { slot: number; next: number }>();
  const token = (id: number) => {
    const entry = live.get(id)!;
    return { id, token: 100 * entry.slot + entry.next++ };
  };
  return {
    steps,
    live,
    async step(step: Step) {
      steps.push(step);
      for (const id of step.release) live.delete(id);
      const decoded = step.decode.map(token);
      for (const { id, slot } of step.prefill) live.set(id, { slot, next: 0 });
      const started = step.prefill.map(({ id }) => token(id));
      return [
        ...(decoded.length > 0 ? [{ phase: 'decode' as const, tokens: decoded }] : []),
        ...(started.length > 0 ? [{ phase: 'prefill' as const, tokens: started }] : []),
      ];
    },
  };
}

function setUp(options: Partial<SchedulerOptions> = {}, adapters = 2) {
  const model = countingModel();
  const slots = createSlotTable(adapters);
  const limits = { rows: 4, adapters, prefill: 1000, patience: 1000, waiting: 10 };
  const loads: string[] = [];
  const load = async (digest: string, slot: number) => void loads.push(`${digest}@${slot}`);
  const scheduler = createScheduler({ model, slots, limits, load, ...options });
  /** Runs a sequence of `count` tokens to its end. */
  function run(adapter: string | undefined, count: number, onToken?: (tokens: number[]) => void) {
    const tokens: number[] = [];
    const batches: { rows: number; adapters: number }[] = [];
    let cancel: (reason: unknown) => void = () => {};
    const done = new Promise<number[]>((resolve, reject) => {
      const sequence: Sequence = {
        adapter,
        tokens: [1],
        sampling,
        started() {},
        accept(token, batch) {
          tokens.push(token);
          batches.push(batch);
          onToken?.(tokens);
          return tokens.length < count;
        },
        ended: (error) => (error === undefined ? resolve(tokens) : reject(error)),
      };
      cancel = scheduler.submit(sequence).cancel;
    });
    return { done, batches, cancel };
  }
  return { model, slots, scheduler, loads, run };
}

describe('scheduler', () => {
  it('mixes adapters and the base in one batch; rows leave one by one', async () => {
    const { run, model, loads, slots } = setUp();
    const runs = [run('a', 2), run('b', 4), run(undefined, 3)];
    expect(await Promise.all(runs.map(({ done }) => done))).toEqual([
      [100, 101],
      [200, 201, 202, 203],
      [0, 1, 2],
    ]);
    expect(loads).toEqual(['a@1', 'b@2']);
    expect(runs[1]!.batches).toEqual([
      { rows: 3, adapters: 2 },
      { rows: 3, adapters: 2 },
      { rows: 2, adapters: 1 },
      { rows: 1, adapters: 1 },
    ]);
    await expect.poll(() => model.live.size).toBe(0);
    expect(slots.list().every(({ references }) => references === 0)).toBe(true);
  });

  it('lets a third adapter in when one of two slots is free again', async () => {
    const { run, loads } = setUp();
    const results = await Promise.all([run('a', 3).done, run('b', 5).done, run('c', 2).done]);
    expect(results.map((tokens) => tokens.length)).toEqual([3, 5, 2]);
    expect(loads).toEqual(['a@1', 'b@2', 'c@1']);
  });

  it('cancels between tokens, and before the start', async () => {
    const { run, slots } = setUp({ limits: { rows: 1, adapters: 2, prefill: 1000, patience: 1000, waiting: 10 } });
    const long = run('a', 1000, (tokens) => tokens.length === 3 && long.cancel(new PeftError('CANCELLED', 'enough')));
    const queued = run('b', 5);
    queued.cancel(new PeftError('CANCELLED', 'never mind'));
    await expect(long.done).rejects.toMatchObject({ code: 'CANCELLED', message: 'enough' });
    await expect(queued.done).rejects.toMatchObject({ message: 'never mind' });
    expect(slots.list()).toEqual([{ slot: 1, digest: 'a', references: 0 }]);
  });

  it('refuses more than may wait, and everything while draining', async () => {
    const { run, scheduler } = setUp({ limits: { rows: 1, adapters: 2, prefill: 1000, patience: 1000, waiting: 2 } });
    const accepted = [run('a', 2), run('a', 2)];
    expect(() => run('a', 2).done.catch(() => {})).not.toThrow();
    await expect(run('a', 2).done).rejects.toMatchObject({ code: 'SERVER_BUSY' });
    const drained = scheduler.drain();
    await expect(run('a', 2).done).rejects.toMatchObject({ code: 'SERVER_CLOSED' });
    await drained;
    expect(await Promise.all(accepted.map(({ done }) => done))).toHaveLength(2);
  });

  it('fails the sequences of a step that failed, and goes on with the next', async () => {
    const model = countingModel();
    let broken = true;
    const step = (asked: Step) => (broken ? Promise.reject(new PeftError('INTERNAL', 'no memory')) : model.step(asked));
    const { run, scheduler } = setUp({ model: { step } });
    await expect(run('a', 2).done).rejects.toMatchObject({ message: 'no memory' });
    broken = false;
    expect(await run('a', 2).done).toHaveLength(2);
    expect(scheduler.running).toBe(0);
  });

  it('fails only the sequences whose adapter cannot be loaded', async () => {
    const load = (digest: string) =>
      digest === 'b' ? Promise.reject(new PeftError('FILE_MISSING', 'gone')) : Promise.resolve();
    const { run, slots } = setUp({ load });
    const [a, b] = [run('a', 2), run('b', 2)];
    await expect(b.done).rejects.toMatchObject({ code: 'FILE_MISSING' });
    expect(await a.done).toHaveLength(2);
    expect(slots.list().map(({ digest }) => digest)).toEqual(['a']);
  });
});
