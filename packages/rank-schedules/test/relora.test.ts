import {
  type Adapter,
  adamw,
  bindMethod,
  createSchedule,
  f32,
  type Tensor,
  type TrainEvent,
  toF32,
  train,
} from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type ReloraOptions, relora } from '../src/index.js';
import { cleared, clearedState } from '../src/relora/cleared.js';

const path = 'model.layers.0.up.weight';

async function ran(
  options: ReloraOptions,
  steps: number,
  start?: Adapter,
): Promise<{ events: TrainEvent[]; adapter: Adapter }> {
  const run = train(tinyModel(), {
    method: relora({ targetModules: ['up', 'mix'], r: 2, ...options }),
    data: tinyRows(),
    backend: referenceBackend(),
    optimizer: adamw(),
    lr: 0.02,
    steps,
    batchSize: 12,
    warmupSteps: 1,
    ...(start && { start }),
  });
  const events: TrainEvent[] = [];
  for await (const event of run) events.push(event);
  return { events, adapter: await run.result() };
}

const losses = (events: readonly TrainEvent[]) => events.flatMap((e) => (e.type === 'step' ? [e.loss] : []));
const factors = async ({ delta }: Adapter) => {
  const { a, b } = delta.params.get(path)![0]!.tensors;
  return { a: toF32(await a!.read()), b: toF32(await b!.read()) };
};

describe('relora', () => {
  testMethod(relora, { config: { r: 2, restarts: 1 } });
  testMethod(relora, { config: { r: 3, alpha: 6, restarts: 3, schedule: 'restart', targetModules: ['mix'] } });

  it('a restart leaves the model as it is, keeps what was trained, and ranks add up', async () => {
    const one = await ran({ restarts: 0 }, 3);
    const three = await ran({ restarts: 2, schedule: 'restart' }, 9);
    expect(losses(three.events).slice(0, 3)).toEqual(losses(one.events));
    const [first, all] = [await factors(one.adapter), await factors(three.adapter)];
    expect(all.a.shape).toEqual([6, 6]);
    expect([...all.a.data.subarray(0, first.a.data.length)]).toEqual([...first.a.data]);
    expect([...all.b.data.subarray(0, 2)]).toEqual([...first.b.data.subarray(0, 2)]);
    // The loss of the first update after a restart is that of the factors put aside.
    expect(losses(three.events)[3]).toBeLessThan(losses(three.events)[2]!);
    expect(losses(three.events).at(-1)).toBeLessThan(losses(three.events)[3]!);
  });

  it('another run on a saved adapter is another round: ranks add up, and what was saved stays', async () => {
    const { adapter } = await ran({ restarts: 1 }, 4);
    const more = await ran({ restarts: 0 }, 2, adapter);
    const [before, after] = [await factors(adapter), await factors(more.adapter)];
    expect(after.a.shape).toEqual([6, 6]);
    expect([...after.a.data.subarray(0, before.a.data.length)]).toEqual([...before.a.data]);
    expect(losses(more.events)[0]).toBeLessThan(losses((await ran({ restarts: 0 }, 1)).events)[0]!);
  });

  it('rounds without an update leave nothing behind', async () => {
    const { a, b } = await factors((await ran({ restarts: 9 }, 3)).adapter);
    expect([a.shape, b.shape]).toEqual([
      [6, 6],
      [8, 6],
    ]);
  });

  it('the rate rises again after a restart to the one schedule of the run', async () => {
    const { events } = await ran({ restarts: 1, warmup: 0.5 }, 8);
    const rates = events.flatMap((e) => (e.type === 'step' ? [e.lr / 0.02] : []));
    const whole = createSchedule('linear', 8, { steps: 1 });
    const expected = Array.from({ length: 8 }, (_, t) => whole(t) * (t === 4 ? 0.5 : 1));
    rates.forEach((rate, t) => {
      expect(rate).toBeCloseTo(expected[t]!, 6);
    });
  });

  it("keeps the largest of the optimizer's moments, by their quantile", async () => {
    const moments = f32([2, 3], [0.5, -4, 1, 2, -3, 0]);
    const second = f32([2, 3], [9, 9, 0, 0, 1, 2]);
    const numbers = (tensors: readonly Tensor[]) => tensors.map(({ data }) => [...(data as Float32Array)]);
    expect(numbers(cleared([moments], 0.6))).toEqual([[0, -4, 0, 0, -3, 0]]);
    // Both or none, so that no first moment is divided by a second one of zero.
    expect(numbers(cleared([moments, second], 0.6))).toEqual([
      [0, -4, 0, 0, 0, 0],
      [0, 9, 0, 0, 0, 0],
    ]);
    expect(numbers(cleared([moments], 1))).toEqual([[0, 0, 0, 0, 0, 0]]);
    expect(numbers(cleared([moments], 0))).toEqual(numbers([moments]));
    const target = tinyModel().targets.find(({ path: own }) => own.endsWith('up'))!;
    const sites = [{ target, p: { a: moments, b: moments } }];
    const state = new Map([
      [`${target.path}:a:m`, moments],
      [`${target.path}:a:count`, f32([], [3])],
      ['head.weight:m', moments],
    ]);
    expect([...clearedState(sites, state, 0.6).keys()]).toEqual([`${target.path}:a:m`]);
    const [all, none] = [await ran({ restarts: 1, cleared: 1 }, 4), await ran({ restarts: 1, cleared: 0 }, 4)];
    expect(losses(all.events).slice(0, 3)).toEqual(losses(none.events).slice(0, 3));
    expect(losses(all.events)[3]).not.toBe(losses(none.events)[3]);
  });

  it('the rate and the optimizer begin again with every round', async () => {
    const { events } = await ran({ restarts: 1, schedule: 'restart' }, 6);
    const rates = events.flatMap((e) => (e.type === 'step' ? [e.lr] : []));
    expect(rates.slice(3)).toEqual(rates.slice(0, 3));
    expect(events.filter(({ type }) => type === 'phase')).toEqual([{ type: 'phase', step: 3, phase: 'round 2' }]);
  });

  it('refuses ranks that cannot be', () => {
    expect(() => bindMethod(relora({ r: 7, targetModules: ['up'] }), tinyModel())).toThrow(/rank 6 at most, r is 7/);
    expect(() => relora({ restarts: -1 })).toThrow(/restarts/);
  });
});
