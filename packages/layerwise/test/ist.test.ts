import {
  type Bound,
  bindMethod,
  createRandom,
  defineMethod,
  f32,
  lowRankTerm,
  type MethodFunction,
  type StepEnd,
  type Tensor,
  tensorRef,
  train,
} from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import * as z from 'zod';
import { hft, type IstOptions, ist, type LayerDraw } from '../src/index.js';
import { rewarded, sigmoid } from '../src/ist/importance.js';
import { distinct, drawWithout } from '../src/ist/layers.js';

const Config = z.strictObject({ r: z.number().int().positive().default(2) });

/** s B A with s = 1: something to wrap. */
const factors = defineMethod({
  spec: 'v1',
  name: 'factors-test',
  paper: 'https://example.org',
  layout: 'LORA',
  additive: true,
  kinds: ['linear', 'conv1d'],
  config: Config,
  init: ({ in: inside, out }, { r }, rng) => ({
    train: { a: rng.normal([r, inside]), b: f32([out, r], new Float32Array(out * r)) },
  }),
  delta: ({ p }, ops) => ops.matmul(p.b!, p.a!),
  apply: ({ x, p }, ops) => ops.gemm(ops.gemm(x, p.a!, undefined, { transB: true }), p.b!, undefined, { transB: true }),
  toDelta: ({ p, target }) => ({
    weight: lowRankTerm({ a: tensorRef(p.a!), b: tensorRef(p.b!) }, { scale: 1, transposed: target.kind === 'conv1d' }),
  }),
  size: (target, { r }) => r * (target.in + target.out),
});

const targetModules = ['up', 'down', 'mix'];

/** A wrapped method as a function of the wrapped method's options: what `testMethod` takes. */
const wrapping = (options: IstOptions) =>
  Object.assign((inner: object = {}) => ist(factors(inner as never), options), {
    method: ist(factors(), options).method,
  }) as unknown as MethodFunction<typeof Config>;

const ran = (method: Bound, steps = 6) =>
  train(tinyModel(), { method, data: tinyRows(), backend: referenceBackend(), lr: 0.05, steps, batchSize: 12 });

describe('ist', () => {
  testMethod(wrapping({ interval: 2, trained: 0.5 }), { config: { targetModules } });

  it('trains only the layers that were drawn, and what is in none', async () => {
    const trained: number[] = [];
    const draw = ({ purpose, count }: LayerDraw) => {
      if (purpose === 'train') trained.push(count);
      return [1]; // layer 1 holds mix alone
    };
    const adapter = await ran(
      ist(factors({ targetModules: [...targetModules, 'head'] }), { interval: 2 }, draw),
    ).result();
    expect(trained).toEqual([1, 1, 1, 1, 1, 1]);
    const moved = await Promise.all(
      [...adapter.delta.params].map(async ([path, [term]]) => {
        const b = (await term!.tensors.b!.read()).data as Float32Array;
        return [path, b.some((x) => x !== 0)];
      }),
    );
    expect(Object.fromEntries(moved)).toEqual({
      'model.layers.0.up.weight': false,
      'model.layers.0.down.weight': false,
      'model.layers.1.mix.weight': true,
      'head.weight': true,
    });
    expect(adapter.method?.name).toBe('factors-test');
    expect(adapter.method?.config).not.toHaveProperty('interval');
  });

  it('looks with the updates of drawn layers scaled down, on the same rows, and never after the last update', async () => {
    const { method } = ist(factors({ targetModules }), { interval: 3, subsets: 2, factor: 0.5, rate: 8, rows: 4 });
    const asked: unknown[] = [];
    const held = new Map<string, Tensor>([['*:istImportance', f32([2], [0, 0])]]);
    const sites = bindMethod(factors({ targetModules }), tinyModel()).sites;
    const at = (step: number) =>
      method.onStep!({
        clock: { step, total: 9, phase: 0, phaseStep: step, phaseTotal: 9 },
        sites,
        observed: new Map(),
        rng: createRandom(1),
        read: async () => held,
        loss: async (rows: number, instead: ReadonlyMap<string, Tensor>, draw: number) => {
          asked.push([rows, [...instead.values()].every(({ data }) => data[0] === 0.5), draw]);
          return instead.has('model.layers.1.mix:istFactor') ? 1 : 2;
        },
      } as unknown as StepEnd<z.output<typeof Config>>);
    expect(await at(2)).toBeUndefined();
    expect(await at(9)).toBeUndefined();
    const edit = await at(3);
    expect(asked).toEqual([
      [4, true, 0],
      [4, true, 0],
    ]);
    expect([...edit!.set!.keys()]).toEqual(['*:istImportance']);
  });

  it('a layer that is not missed gets a larger number, and is trained less', () => {
    const [first, second] = rewarded([0, 0], [[0], [1]], [0.1, 2], 10) as [number, number];
    expect(first).toBeGreaterThan(0); // suppressed, the loss stayed low
    expect(second).toBeCloseTo(-first, 12);
    expect(sigmoid(-first)).toBeLessThan(sigmoid(-second));
    const expected = 10 * ((Math.exp(-0.1) - Math.exp(-2)) / 2) * 0.25;
    expect(first).toBeCloseTo(expected, 12);
  });

  it('draws without putting back, in proportion to the weights', () => {
    const counts = [0, 0, 0];
    for (let i = 0; i < 4000; i++) {
      const [a, b] = drawWithout([1, 2, 1], 2, createRandom(i)) as [number, number];
      expect(a).not.toBe(b);
      counts[a]!++;
    }
    // Three standard deviations of 4000 draws: 0.024.
    expect(Math.abs(counts[1]! / 4000 - 0.5)).toBeLessThan(0.024);
    expect(drawWithout([1, 1, 1], 3, createRandom(0)).sort()).toEqual([0, 1, 2]);
  });

  it('tries different sets, and fewer where there are no more', () => {
    const draws = [
      [0, 1],
      [1, 0],
      [2, 0],
      [0, 1],
      [2, 1],
    ];
    expect(distinct(3, (_, attempt) => draws[attempt]!)).toEqual([
      [0, 1],
      [2, 0],
      [2, 1],
    ]);
    expect(distinct(3, (place) => [Math.min(place, 1)])).toEqual([[0], [1]]);
  });

  it('wraps a method that trains weights in place and has rounds', async () => {
    const rounds = hft({ targetModules, selection: [['model.layers.0.up'], ['model.layers.1.mix']] });
    const adapter = await ran(ist(rounds, { interval: 2, trained: 1 })).result();
    expect([...adapter.replaced.keys()].filter((path) => path.endsWith('weight')).sort()).toEqual([
      'model.layers.0.up.weight',
      'model.layers.1.mix.weight',
    ]);
  });

  it('refuses wrong options, a method that chooses targets or moves all, and targets outside of layers', async () => {
    expect(() => ist(factors(), { subsets: 1, trained: 2 })).toThrow(/trained.*subsets/s);
    expect(() => ist(ist(factors()))).toThrow(/chooses itself/);
    const { method } = factors();
    const byLosses = defineMethod({ ...method, forward: { epsilon: () => 1, direction: ({ p }) => p.a! } });
    expect(() => ist(byLosses())).toThrow(/moves all targets at once/);
    await expect(ran(ist(factors({ targetModules: ['head'] }))).result()).rejects.toThrow(/in a numbered layer/);
  });
});
