import { type Adapter, bindMethod, toF32, train } from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { chosen, schedule, smoothed } from '../src/increlora/growth.js';
import { type IncreloraOptions, increlora } from '../src/index.js';

const settings = (options: IncreloraOptions = {}) => increlora(options).config;

describe('increlora', () => {
  testMethod(increlora, { config: { interval: 1, topH: 1, warmup: 0 } });
  testMethod(increlora, { config: { variant: 'code', initialRank: 2, targetRank: 4, maxRank: 5, topH: 2 } });

  it('grows the most important modules to the mean rank that was asked for, and saves their ranks', async () => {
    const method = increlora({ targetModules: ['up', 'down', 'mix'], topH: 1, warmup: 0, interval: 2, maxRank: 3 });
    const run = train(tinyModel(), { method, data: tinyRows(), backend: referenceBackend(), lr: 0.02, steps: 12 });
    const notes: string[] = [];
    for await (const event of run) if (event.type === 'step' && event.note) notes.push(event.note);
    expect(notes).toHaveLength(3);
    expect(notes.at(-1)).toContain('0 ranks are left');
    const { delta } = await run.result();
    const ranks = [...delta.params.values()].map(([term]) => term!.tensors.a!.shape[0]!);
    expect(ranks).toHaveLength(3);
    expect(ranks.reduce((a, b) => a + b)).toBe(6);
    for (const [term] of delta.params.values())
      expect(term!.meta.scale).toBeCloseTo(16 / (term!.tensors.a!.shape[0]! + 1e-5), 6);
    const moved = toF32(await [...delta.params.values()][0]![0]!.tensors.a!.read()).data;
    expect(moved.some((x) => x !== 0)).toBe(true);
  });

  it.each([[['up']], [['up', 'down']]])(
    'reaches the rank that was asked for with fewer modules than grow at a time: %j',
    async (targetModules) => {
      const method = increlora({ targetModules, targetRank: 3, added: 1 });
      const run = train(tinyModel(), { method, data: tinyRows(), backend: referenceBackend(), lr: 0.02, steps: 20 });
      const { delta } = await run.result();
      expect([...delta.params.values()].map(([term]) => term!.tensors.a!.shape[0])).toEqual(targetModules.map(() => 3));
    },
  );

  it('goes on from a saved adapter with its ranks, and refuses more than there is room for', async () => {
    const common = { data: tinyRows(), backend: referenceBackend(), lr: 0.02, steps: 12 };
    const own = { targetModules: ['up', 'down', 'mix'], topH: 1, warmup: 0, interval: 2, maxRank: 3 };
    const start = await train(tinyModel(), { ...common, method: increlora(own) }).result();
    const ranks = ({ delta }: Adapter) => [...delta.params.values()].map(([term]) => term!.tensors.a!.shape[0]!);
    const more = await train(tinyModel(), { ...common, method: increlora(own), start }).result();
    expect(ranks(more)).toEqual(ranks(start));
    expect(more.digest).not.toBe(start.digest);
    const wide = increlora({ ...own, initialRank: 3, targetRank: 3 });
    const three = await train(tinyModel(), { ...common, method: wide }).result();
    const narrow = increlora({ ...own, targetRank: 1, maxRank: 1 });
    await expect(train(tinyModel(), { ...common, method: narrow, start: three }).result()).rejects.toMatchObject({
      code: 'ADAPTER_MISMATCH',
      message: expect.stringContaining('raise maxRank'),
    });
  });

  it('takes exactly so many, the earlier among equals; the code takes all equals', () => {
    const of = (scores: readonly number[]) =>
      scores.map((importance, i) => ({ path: `${i}`, rank: 1, largest: 4, importance }));
    expect(chosen(of([1, 3, 2, 3]), 9, { topH: 1, variant: 'paper' }, 1)).toEqual(['1']);
    expect(chosen(of([1, 3, 2, 3]), 9, { topH: 1, variant: 'code' }, 1)).toEqual(['1', '3']);
    expect(chosen(of([1, 3, 2, 3]), 1, { topH: 3, variant: 'paper' }, 1)).toEqual(['1']);
    const full = of([1, 3]).map((one) => ({ ...one, largest: 1 }));
    expect(chosen(full, 9, { topH: 1, variant: 'paper' }, 1)).toEqual([]);
  });

  it('smooths with the new importance, and spreads growth over two thirds of a run', () => {
    expect(smoothed({ I: 1, U: 2 }, 3, { beta1: 0.5, beta2: 0.5 })).toEqual({ I: 2, U: 1.5 });
    const { grows } = schedule(settings({ topH: 6 }), 36, { total: 300 });
    const at = Array.from({ length: 300 }, (_, t) => t).filter(grows);
    expect(at.slice(0, 6)).toEqual([30, 60, 90, 120, 150, 180]);
    const given = schedule(settings({ warmup: 3, interval: 4 }), 12, { total: 20 });
    expect([3, 4, 5, 8].map(given.grows)).toEqual([false, true, false, true]);
  });

  it('refuses ranks that cannot be', () => {
    const bind = (options: IncreloraOptions) =>
      bindMethod(increlora({ ...options, targetModules: ['up'] }), tinyModel());
    expect(() => bind({ initialRank: 3 })).toThrow(/cannot grow from initialRank 3 to targetRank 2/);
    expect(() => bind({ maxRank: 1 })).toThrow(/maxRank 1 leaves no room for targetRank 2/);
    expect(() => bind({ maxRank: 100 })).toThrow(/rank 6 at most, maxRank is 100/);
    expect(bind({ targetRank: 5 }).size).toBe((6 + 2) * (6 + 8 + 1));
    expect(() => bind({ targetRank: 7 })).toThrow(/rank 6 at most, targetRank is 7/);
    expect(() => increlora({ targetRank: -1 })).toThrow(/targetRank/);
  });
});
