import {
  type Adapter,
  createGraph,
  createOps,
  createRandom,
  evaluate,
  f32,
  isPeftError,
  type Optimizer,
  type Tensor,
  type TrainOptions,
  train,
} from '@peftjs/core';
import { expectClose, referenceBackend, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type SpielOptions, spiel } from '../src/index.js';
import { adamwByAge } from '../src/spiel/adamw-by-age.js';
import { distinct } from '../src/spiel/draw.js';
import { carriedOver, reselect } from '../src/spiel/reselect.js';
import { sm3 } from '../src/spiel/sm3.js';
import { gathers, opens, replacedShare, reselects, samplesOf } from '../src/spiel/windows.js';

const clock = (step: number, total = 24) => ({ step, total, phase: 0, phaseStep: step, phaseTotal: total });
const steps = Array.from({ length: 24 }, (_, i) => i + 1);

describe('windows', () => {
  const c = { reselectEvery: 8, accumulateFor: 3 };

  it('gather three updates the first time and four later, and reselect after the last of each', () => {
    expect(steps.filter((step) => gathers(clock(step), c))).toEqual([1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24]);
    expect(steps.filter((step) => gathers(clock(step), c) && opens(clock(step), c))).toEqual([1, 8, 16, 24]);
    expect(steps.filter((step) => reselects(clock(step), c))).toEqual([3, 11, 19]);
    expect([3, 11, 19].map((step) => samplesOf(clock(step), c))).toEqual([3, 4, 4]);
  });

  it('replace all at first and then less and less, or along half a cosine', () => {
    const share = (step: number, policy: 'linear' | 'cosine') =>
      replacedShare(clock(step), { replace: 0.4, policy, accumulateFor: 3, replaceFirst: true });
    expect([3, 12, 24].map((step) => share(step, 'linear'))).toEqual([1, 0.2, 0]);
    expect(share(12, 'cosine')).toBeCloseTo(0.2, 12);
    expect(share(24, 'cosine')).toBeCloseTo(0, 12);
  });
});

describe('reselect', () => {
  const active = { indices: [2, 5, 7, 9], values: Float32Array.of(0.5, -0.1, 0.2, -3) };

  it('drops what changed least and grows as many', () => {
    const next = reselect(active, 2, (stays, count) => {
      expect([[...stays], count]).toEqual([[2, 9], 2]);
      return [8, 0];
    });
    expect(next).toEqual({ indices: [0, 2, 8, 9], from: [-1, 0, -1, 3] });
    expect([...carriedOver(next, active.values)]).toEqual([0, 0.5, 0, -3]);
    expect([...carriedOver(next, active.values, (index) => index)]).toEqual([0, 0.5, 8, -3]);
  });

  it('keeps what is dropped and grown at once', () => {
    expect(reselect(active, 2, () => [5, 1])).toEqual({ indices: [1, 2, 5, 9], from: [-1, 0, 1, 3] });
  });

  it('keeps the budget where too few can grow', () => {
    expect(reselect(active, 3, () => [1])).toEqual({ indices: [1, 2, 7, 9], from: [-1, 0, 2, 3] });
    expect(reselect(active, 4, () => [])).toEqual({ indices: [2, 5, 7, 9], from: [0, 1, 2, 3] });
  });

  it('drops higher indices first where changes are equal', () => {
    const zero = { indices: [1, 2, 3], values: new Float32Array(3) };
    expect(reselect(zero, 1, () => [0]).indices).toEqual([0, 1, 2]);
  });
});

describe('the start', () => {
  it('is distinct, ascending, the same for a seed, and uniform', () => {
    const rng = createRandom(3);
    const drawn = distinct(rng, 5000, 10000);
    expect(new Set(drawn).size).toBe(5000);
    expect([...drawn]).toEqual([...drawn].sort((a, b) => a - b));
    expect(distinct(rng, 5000, 10000)).toEqual(drawn);
    const mean = drawn.reduce((sum, x) => sum + x, 0) / 5000;
    // Without replacement the standard error is 10000 / √12 / √5000 · √½ = 29.
    expect(Math.abs(mean - 4999.5)).toBeLessThan(120);
    expect([...distinct(rng, 4, 4)]).toEqual([0, 1, 2, 3]);
  });
});

/** One update after another of a tensor on the reference. */
async function updates(
  optimizer: Optimizer,
  beside: Readonly<Record<string, Tensor>>,
  state: Record<string, Tensor>,
  p: Tensor,
  g: Tensor,
) {
  const graph = createGraph('update');
  const ops = createOps(graph);
  const input = (name: string, { dtype, shape }: Tensor) => ops.input(name, dtype, shape);
  const scalars = optimizer.scalars({ step: 1, rate: 0.1, decay: 0.5 });
  const next = optimizer.update(
    {
      p: input('p', p),
      g: input('g', g),
      state: Object.fromEntries(Object.entries(state).map(([name, t]) => [name, input(`state ${name}`, t)])),
      scalars: Object.fromEntries(Object.keys(scalars).map((name) => [name, ops.input(name, 'f32', [])])),
      beside: Object.fromEntries(Object.entries(beside).map(([name, t]) => [name, input(name, t)])),
    },
    ops,
  );
  ops.output(next.p, 'next');
  for (const [name, value] of Object.entries(next.state)) ops.output(value, `next ${name}`);
  const program = await referenceBackend().compile(graph);
  const states = Object.fromEntries(Object.entries(state).map(([name, t]) => [`state ${name}`, t]));
  const numbers = Object.fromEntries(Object.entries(scalars).map(([name, x]) => [name, f32([], [x])]));
  const outputs = await program.run({ p, g, ...states, ...numbers, ...beside });
  await program.dispose();
  return (name: string) => Array.from(outputs[name]!.data as Float32Array);
}

describe('optimizers', () => {
  it('AdamW corrects every number by its own age, and decays after the step', async () => {
    const state = { m: f32([2], [0.1, 0.1]), v: f32([2], [0.04, 0.04]), age: f32([2], [1, 1000]) };
    const of = await updates(
      adamwByAge({ betas: [0.9, 0.999], eps: 1e-6 }),
      {},
      state,
      f32([2], [1, 1]),
      f32([2], [2, 2]),
    );
    const [m, v] = [0.9 * 0.1 + 0.1 * 2, 0.999 * 0.04 + 0.001 * 4];
    const want = [1, 1000].map((age) => {
      const step = (0.1 * m * Math.sqrt(1 - 0.999 ** age)) / ((Math.sqrt(v) + 1e-6) * (1 - 0.9 ** age));
      return (1 - step) * (1 - 0.1 * 0.5);
    });
    of('next').forEach((x, i) => {
      expect(x).toBeCloseTo(want[i]!, 6);
    });
    expect(of('next age')).toEqual([2, 1001]);
  });

  it('SM3 takes the lesser accumulator and raises both to the largest that reaches them', async () => {
    // A 2 × 3 matrix with entries (0, 1), (0, 2) and (1, 1).
    const beside = { at: { dtype: 'i64', shape: [3], data: BigInt64Array.of(1n, 2n, 4n) } } as const;
    const state = { row: f32([2], [1, 4]), column: f32([3], [9, 2, 0.25]) };
    const optimizer = sm3({ rows: 2, columns: 3, indices: 'at', eps: 1e-8 });
    const of = await updates(optimizer, beside, state, f32([3], [0, 0, 0]), f32([3], [1, 2, 3]));
    const nu = [1 + 1, 0.25 + 4, 2 + 9];
    expect(of('next row')).toEqual([4.25, 11]);
    expect(of('next column')).toEqual([9, 11, 4.25]);
    of('next').forEach((x, i) => {
      expect(x).toBeCloseTo(((-0.1 * (i + 1)) / Math.sqrt(nu[i]!)) * 0.95, 6);
    });
    expect(optimizer.init([3]).row!.shape).toEqual([2]);
  });

  it('SM3 names what is missing beside it', () => {
    const ops = createOps(createGraph('update'));
    const x = ops.input('x', 'f32', [1]);
    const update = () =>
      sm3({ rows: 1, columns: 1, indices: 'at', eps: 1 }).update({ p: x, g: x, state: {}, scalars: {} }, ops);
    expect(update).toThrow('"at"');
  });
});

const model = tinyModel();
const run = (options: SpielOptions, more: Partial<TrainOptions> = {}) =>
  train(model, {
    method: spiel({ targetModules: ['model.layers.0.up', 'model.layers.0.down', 'model.layers.1.mix'], ...options }),
    data: tinyRows(),
    backend: referenceBackend(),
    lr: 0.02,
    steps: 9,
    batchSize: 4,
    ...more,
  });

async function indicesOf({ delta }: Adapter) {
  const all = [];
  for (const [path, [term]] of delta.params)
    all.push(...Array.from((await term!.tensors.indices!.read()).data as Int32Array, (index) => `${path} ${index}`));
  return all;
}

describe('spiel', () => {
  it('has the defaults of its paper and code', () => {
    expect(spiel().config).toMatchObject({
      targetModules: 'all-linear',
      density: 0.01,
      criterion: 'ag',
      reselectEvery: 20,
      accumulateFor: 5,
      replace: 0.2,
      policy: 'linear',
      betas: [0.9, 0.999],
    });
  });

  it.each(['ag', 'ma'] as const)('keeps its budget while coordinates come and go (%s)', async (criterion) => {
    const options: SpielOptions = { count: 40, criterion, reselectEvery: 4, accumulateFor: 2, replace: 0.9 };
    const notes: string[] = [];
    const training = run(options);
    for await (const event of training)
      if (event.type === 'step' && event.note) notes.push(`${event.step}: ${event.note}`);
    expect(notes.map((note) => note.split(':')[0])).toEqual(['2', '6']);
    expect(notes[0]).toMatch(/^2: \d+ coordinates were replaced$/);
    const moving = await indicesOf(await training.result());
    const still = await indicesOf(await run({ ...options, replace: 0, policy: 'cosine' }).result());
    expect([moving.length, still.length]).toEqual([39, 39]); // 13 of each of three equal targets
    expect(new Set(moving)).not.toEqual(new Set(still));
  });

  it('keeps values and coordinates together where the best evaluation counts', async () => {
    const options: SpielOptions = { count: 60, reselectEvery: 2, accumulateFor: 1, replace: 0.9 };
    const kept = run(options, { evalData: tinyRows(), evalEvery: 1, keepBest: true, lr: 0.05 });
    const metrics: number[] = [];
    for await (const event of kept) if (event.type === 'eval') metrics.push(event.metrics.accuracy!);
    const best = metrics.indexOf(Math.max(...metrics)) + 1;
    const upTo = await indicesOf(await run(options, { steps: 9, lr: 0.05, evalData: tinyRows() }).result());
    const adapter = await kept.result();
    expect(best).toBeLessThan(9);
    expect(new Set(await indicesOf(adapter))).not.toEqual(new Set(upTo));
    const again = await evaluate(model, { adapter, data: tinyRows(), backend: referenceBackend() });
    expect(again.accuracy).toBe(metrics[best - 1]);
  });

  it('trains on from what it has saved, with the same coordinates', async () => {
    const options: SpielOptions = { count: 40, replace: 0, policy: 'cosine' };
    const start = await run(options).result();
    const more = await run(options, { start, steps: 2 }).result();
    expect(await indicesOf(more)).toEqual(await indicesOf(start));
    expect(more.digest).not.toBe(start.digest);
  });

  it('grows the same from micro-batches as from whole batches, where those are alike', async () => {
    const data = Array.from({ length: 8 }, () => tinyRows(1)[0]!);
    const options: SpielOptions = { count: 40, reselectEvery: 4, accumulateFor: 2 };
    const whole = await run(options, { data, batchSize: 4 }).result();
    const cut = await run(options, { data, batchSize: 2, gradAccumulation: 2 }).result();
    expect(await indicesOf(cut)).toEqual(await indicesOf(whole));
    for (const [path, [term]] of whole.delta.params) {
      const values = await cut.delta.params.get(path)![0]!.tensors.values!.read();
      expectClose(path, values, await term!.tensors.values!.read(), { relToMax: 1e-5 });
    }
  });

  it('keeps what it has learned where a run goes on, at the first reselection too', async () => {
    const sizes = async ({ delta }: Adapter) => {
      const values = await Promise.all([...delta.params.values()].map(([term]) => term!.tensors.values!.read()));
      return values.flatMap(({ data }) => Array.from(data as Float32Array, Math.abs)).reduce((a, b) => a + b);
    };
    const start = await run({ count: 40 }).result();
    // Update 5 of 10 replaces one coordinate of 13 in each target, that which changed least.
    const more = await run({ count: 40 }, { start, steps: 10, lr: 1e-9 }).result();
    expect(await sizes(more)).toBeGreaterThan(0.95 * (await sizes(start)));
  });

  it.each([
    [{ count: 1000 }, 'count is 1000'],
    [{ density: 0.001 }, 'at least 1 are needed'],
    [{ accumulateFor: 20 }, 'must be less than reselectEvery'],
    [{ criterion: 'rigl' }, 'criterion'],
    [{ dropout: 0.1 }, 'dropout has no place'],
  ])('refuses %j', async (options, named) => {
    const error = await (async () => run(options as SpielOptions).result())().catch((e) => e);
    expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(named);
  });

  it('says where the budget leaves nothing for any target', async () => {
    await expect(run({ count: 2 }).result()).rejects.toMatchObject({ code: 'TARGETS_UNMATCHED' });
  });
});
