import { createRandom, f32, type Tensor, tensor } from '@peftjs/core';
import { expectClose, expectPeftError } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { mergeTensors, type Tensors } from '../src/in-memory.js';
import {
  breadcrumbs,
  dare,
  della,
  gitRebasin,
  linear,
  modelStock,
  opcm,
  robustSignatures,
  sce,
  slerp,
  taskArithmetic,
  ties,
} from '../src/methods/index.js';

const rng = createRandom(3);
const one = (values: Tensor): Tensors => new Map([['w', values]]);
const vector = (...values: number[]): Tensors => one(f32([values.length], values));
const normal = (label: string, ...shape: number[]): Tensor => rng.fork(label).normal(shape);
const plus = (a: Tensor, b: Tensor, factor = 1): Tensor =>
  f32(
    a.shape,
    (a.data as Float32Array).map((x, j) => x + factor * (b.data as Float32Array)[j]!),
  );
const zeros = (n: number): Tensor => f32([n], new Float32Array(n));
const valuesOf = (tensors: Tensors): number[] => [...(tensors.get('w')!.data as Float32Array)];

describe('inputs', () => {
  it('are checked together, naming tensors, models and numbers', async () => {
    const models = [vector(1, 2), new Map([['v', f32([1], [1])]])];
    await expectPeftError(
      () => mergeTensors(linear, { models, ids: ['a', 'b'] }),
      ['DELTA_CONFLICT'],
      ['"w"', '"v"', 'a', 'b'],
    );
    await expectPeftError(
      () => mergeTensors(linear, { models: [vector(1), vector(1)], weights: [1, Number.NaN], ids: ['a', 'b'] }),
      ['CONFIG_INVALID'],
      ['weight of b', 'NaN'],
    );
    await expectPeftError(
      () => mergeTensors(linear, { models: [vector(1, 2), vector(1, Number.POSITIVE_INFINITY)], ids: ['a', 'b'] }),
      ['DELTA_CONFLICT'],
      ['Element 1', '"w"', 'b'],
    );
  });

  it('that count are copied when equal and never averaged', async () => {
    const counter = (n: bigint) => one(tensor('i64', [1], BigInt64Array.of(n)));
    expect(mergeTensors(linear, { models: [counter(7n), counter(7n)] }).get('w')!.data).toEqual(BigInt64Array.of(7n));
    await expectPeftError(
      () => mergeTensors(linear, { models: [counter(7n), counter(8n)] }),
      ['DELTA_CONFLICT'],
      ['"w"'],
    );
  });

  it('may have values of their own only where the method says so', async () => {
    const scene = { base: vector(0, 0, 0, 0), models: [vector(4, 3, 2, 1)] };
    expect(valuesOf(mergeTensors(ties, { ...scene, each: [{ density: 0.5 }] }))).toEqual([4, 3, 0, 0]);
    await expectPeftError(
      () => mergeTensors(ties, { ...scene, each: [{ lambda: 2 }] }),
      ['CONFIG_INVALID'],
      ['lambda', 'density'],
    );
  });
});

describe('random drops', () => {
  const n = 4000;
  const scene = { base: one(zeros(n)), models: [one(normal('drops', n))], ids: ['a'] };
  const mean = (run: (seed: number) => number[], seeds: number): number[] => {
    const sum = new Array<number>(n).fill(0);
    for (let seed = 0; seed < seeds; seed++)
      run(seed).forEach((x, j) => {
        sum[j] = sum[j]! + x / seeds;
      });
    return sum;
  };

  it.each([
    [
      'dare',
      (seed: number) =>
        valuesOf(mergeTensors(dare, { ...scene, seed, parameters: { density: 0.5, variant: 'paper' } })),
    ],
    [
      'della',
      (seed: number) =>
        valuesOf(
          mergeTensors(della, { ...scene, seed, parameters: { density: 0.5, variant: 'paper', consensus: 'none' } }),
        ),
    ],
  ] as const)('of %s keep the expectation over seeds', (_, run) => {
    const expected = scene.models[0]!.get('w')!.data as Float32Array;
    const got = mean(run, 200);
    const error = Math.sqrt(got.reduce((sum, x, j) => sum + (x - expected[j]!) ** 2, 0) / n);
    expect(error).toBeLessThan(0.1); // one standard deviation of a mean of 200 is 0.071
  });

  it('depend on the seed, the name of the model and the tensor, not on places', () => {
    const parameters = { density: 0.5, variant: 'paper' } as const;
    const first = valuesOf(mergeTensors(dare, { ...scene, parameters, seed: 1 }));
    expect(valuesOf(mergeTensors(dare, { ...scene, parameters, seed: 1, chunk: 7 }))).toEqual(first);
    expect(valuesOf(mergeTensors(dare, { ...scene, parameters, seed: 2 }))).not.toEqual(first);
    expect(valuesOf(mergeTensors(dare, { ...scene, parameters, seed: 1, ids: ['b'] }))).not.toEqual(first);
  });

  it('of mergekit bring back the L1 norm', () => {
    const got = valuesOf(mergeTensors(dare, { ...scene, parameters: { density: 0.2 } }));
    const norm = (values: Iterable<number>) => [...values].reduce((sum, x) => sum + Math.abs(x), 0);
    expect(norm(got) / norm(scene.models[0]!.get('w')!.data as Float32Array)).toBeCloseTo(1, 5);
  });

  it('of della are defined for rows of one element and refuse impossible probabilities', async () => {
    const single = { base: one(f32([3, 1], [0, 0, 0])), models: [one(f32([3, 1], [1, 2, 3]))] };
    expect(valuesOf(mergeTensors(della, { ...single, parameters: { density: 0.5 } })).every(Number.isFinite)).toBe(
      true,
    );
    await expectPeftError(
      () => mergeTensors(della, { ...single, parameters: { density: 0.1 } }),
      ['CONFIG_INVALID'],
      ['epsilon'],
    );
  });
});

describe('edges', () => {
  it('breadcrumbs without gamma trims from below only, also in small tensors', () => {
    const scene = { base: vector(0, 0, 0, 0), models: [vector(1, -4, 3, 2)] };
    expect(valuesOf(mergeTensors(breadcrumbs, { ...scene, parameters: { density: 0.5 } }))).toEqual([0, -4, 3, 0]);
    expect(valuesOf(mergeTensors(breadcrumbs, { ...scene, parameters: { density: 0.5, gamma: 0.25 } }))).toEqual([
      0, 0, 3, 2,
    ]);
  });

  it('ties refuses a density that keeps nothing of a tensor', async () => {
    const scene = { base: vector(0, 0, 0), models: [vector(1, 2, 3)], parameters: { density: 0.3 } };
    await expectPeftError(() => mergeTensors(ties, scene), ['CONFIG_INVALID'], ['"w"', '0.3', '3 elements']);
  });

  it('model stock warns where updates oppose and keeps the base there', () => {
    const warnings: string[] = [];
    const merged = mergeTensors(modelStock, {
      base: vector(1, 1),
      models: [vector(2, 1), vector(0, 1)],
      onWarning: ({ tensor: name, message }) => warnings.push(`${name}: ${message}`),
    });
    expect(valuesOf(merged)).toEqual([1, 1]);
    expect(warnings).toEqual(['w: the updates point apart: the base is kept there']);
  });

  it('sce weighs small updates by their energy', () => {
    const scene = { base: vector(0, 0), models: [vector(2e-5, 2e-5), vector(1e-5, 1e-5)] };
    expect(valuesOf(mergeTensors(sce, scene))[0]).toBeCloseTo(1.8e-5, 10); // (0.8 · 2 + 0.2 · 1) 1e-5
    expect(valuesOf(mergeTensors(sce, { ...scene, parameters: { uniformBelow: 1e-6 } }))[0]).toBeCloseTo(1.5e-5, 10);
  });

  it('slerp takes a base and a model, or two models', async () => {
    const parameters = { t: 0.5 };
    const [a, b] = [vector(1, 0), vector(0, 1)];
    const half = Math.SQRT1_2;
    for (const inputs of [{ base: a, models: [b] }, { models: [a, b] }])
      expectClose('w', mergeTensors(slerp, { ...inputs, parameters }).get('w')!, f32([2], [half, half]), {
        absolute: 1e-7,
      });
    await expectPeftError(() => mergeTensors(slerp, { models: [a], parameters }), ['CONFIG_INVALID'], ['two models']);
    await expectPeftError(
      () => mergeTensors(slerp, { base: a, models: [a, b], parameters }),
      ['CONFIG_INVALID'],
      ['one model'],
    );
  });

  it('weights are refused where a method has none', async () => {
    const scene = { base: vector(0), models: [vector(1), vector(2)], weights: [1, 2] };
    for (const method of [modelStock, sce])
      await expectPeftError(() => mergeTensors(method as typeof sce, scene), ['CONFIG_INVALID'], ['weights']);
    await expectPeftError(
      () => mergeTensors(ties, { ...scene, parameters: { variant: 'paper' } }),
      ['CONFIG_INVALID'],
      ['mergekit'],
    );
  });

  it('results are rounded once, to the dtype of the base', () => {
    const half = (value: number) => one(tensor('bf16', [1], Uint16Array.of(value)));
    const merged = mergeTensors(taskArithmetic, { base: half(0x3f80), models: [half(0x3f81), half(0x3f81)] });
    expect(merged.get('w')).toEqual({ dtype: 'bf16', shape: [1], data: Uint16Array.of(0x3f82) });
  });

  it('opcm keeps a second task out of the leading directions of a low-rank first one', () => {
    const [u, v] = [normal('u', 6).data as Float32Array, normal('v', 5).data as Float32Array];
    const rankOne = f32(
      [6, 5],
      Float32Array.from({ length: 30 }, (_, i) => u[Math.floor(i / 5)]! * v[i % 5]!),
    );
    const base = f32([6, 5], new Float32Array(30));
    // The same task again adds nothing; the length stays that of one task.
    const merged = mergeTensors(opcm, { base: one(base), models: [one(rankOne), one(rankOne)] });
    expectClose('w', merged.get('w')!, rankOne, { absolute: 1e-6 });
  });

  it('git re-basin finds a permutation, and names what its specification gets wrong', async () => {
    const [first, second] = [normal('first', 8, 5), normal('second', 3, 8)];
    const order = rng.fork('order').permutation(8);
    const turned = new Map([
      [
        'first',
        f32(
          [8, 5],
          Float32Array.from({ length: 40 }, (_, i) => first.data[order[Math.floor(i / 5)]! * 5 + (i % 5)] as number),
        ),
      ],
      [
        'second',
        f32(
          [3, 8],
          Float32Array.from({ length: 24 }, (_, i) => second.data[Math.floor(i / 8) * 8 + order[i % 8]!] as number),
        ),
      ],
    ]);
    const a: Tensors = new Map([
      ['first', first],
      ['second', second],
    ]);
    const permutations = {
      hidden: [
        ['first', 0],
        ['second', 1],
      ] as [string, number][],
    };
    const merged = mergeTensors(gitRebasin, { models: [a, turned], parameters: { permutations } });
    for (const [name, want] of a) expectClose(name, merged.get(name)!, want, { absolute: 1e-7 });
    const wrong = {
      hidden: [
        ['first', 0],
        ['second', 0],
      ] as [string, number][],
      other: [['third', 0]] as [string, number][],
    };
    await expectPeftError(
      () => mergeTensors(gitRebasin, { models: [a, turned], parameters: { permutations: wrong } }),
      ['CONFIG_INVALID'],
      ['"hidden"', '8, 3', '"third"'],
    );
  });

  it('a task vector times a factor is added that many times', () => {
    const [base, delta] = [normal('base', 40), normal('delta', 40)];
    const merged = mergeTensors(taskArithmetic, {
      base: one(base),
      models: [one(plus(base, delta))],
      parameters: { lambda: -2 },
    });
    expectClose('w', merged.get('w')!, plus(base, delta, -2), { absolute: 1e-6 }); // base + delta is rounded
  });
});

describe('robust weight signatures', () => {
  const names = ['model.embed_tokens.weight', 'model.layers.0.w', 'model.layers.1.w', 'model.norm.weight'];
  const clean = new Map(names.map((name, i) => [name, f32([2], [i, -i])]));
  /** Trained on corrupted data: every number differs. */
  const hardened = (by: number) => new Map(names.map((name, i) => [name, f32([2], [i + by, by - i])]));
  const at = (tensors: Tensors) => names.map((name) => (tensors.get(name)!.data as Float32Array)[0]);

  it('are added with a strength, several at once, and taken back', () => {
    const models = [hardened(0.5), hardened(2)];
    const patched = mergeTensors(robustSignatures, { base: clean, models, weights: [1, 0.25] });
    expect(at(patched)).toEqual([1, 2, 3, 4]);
    const back = mergeTensors(robustSignatures, { base: patched, models: [hardened(0)], weights: [1] });
    expect(at(back)).toEqual(at(clean));
    expect(at(mergeTensors(robustSignatures, { base: clean, models, weights: [1, -0.25] }))).toEqual([0, 1, 2, 3]);
  });

  it('patch the first layers alone where told', () => {
    const parameters = { layers: 1, lambda: 2 };
    const got = mergeTensors(robustSignatures, { base: clean, models: [hardened(0.5)], parameters });
    expect(at(got)).toEqual([1, 2, 2, 3]);
  });
});
