import { createRandom, f32, type Look, matmul, matrix, svd, type Target, type Tensor, tensorRef } from '@peftjs/core';
import { expectClose } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { orthonormalFactors, principalFactors } from '../src/decompose.js';
import { distribute } from '../src/eva.js';
import { LoraConfig, type LoraSettings, lora } from '../src/index.js';
import { emptyPca, explained, update } from '../src/pca.js';

const rng = createRandom(3);
const data = (tensor: Tensor | undefined) => tensor!.data as Float32Array;
const matrixOf = ({ shape, data: values }: Tensor) => matrix(shape[0]!, shape[1]!, values as Float32Array);
const tensorOf = ({ rows, columns, data: values }: ReturnType<typeof matrix>) => f32([rows, columns], values);
const productOf = ({ a, b }: { a: Tensor; b: Tensor }) => matmul(matrixOf(b), matrixOf(a));

describe('PiSSA', () => {
  it('starts at the best approximation of its rank, the scale divided out', () => {
    const w = matrixOf(rng.fork('w').normal([7, 5]));
    const { u, s, v } = svd(w);
    const expected = matrix(7, 5);
    for (let i = 0; i < 7; i++)
      for (let j = 0; j < 5; j++)
        for (let k = 0; k < 2; k++) expected.data[i * 5 + j]! += u.data[i * 5 + k]! * s[k]! * v.data[j * 5 + k]!;
    const product = productOf(principalFactors(w, 2, 4));
    const scaled = { ...product, data: product.data.map((x) => 4 * x) };
    expectClose('s B A', tensorOf(scaled), tensorOf(expected), { relToMax: 1e-6 });
  });

  it('finds the same in a large weight, by iteration', () => {
    const [n, r] = [140, 3];
    const left = matrixOf(rng.fork('l').normal([n, r]));
    const noise = data(rng.fork('n').normal([n, n], 0, 1e-4));
    const w = matmul(left, matrixOf(rng.fork('r').normal([r, n])));
    const whole = { ...w, data: w.data.map((x, i) => x + noise[i]!) };
    expectClose('B A', tensorOf(productOf(principalFactors(whole, r, 1))), tensorOf(w), { relToMax: 1e-3 }); // the noise
  });
});

describe('OLoRA', () => {
  it('has orthonormal columns in B, triangular rows in A, and is exact on the first columns', () => {
    const w = matrixOf(rng.fork('o').normal([6, 8]));
    const { a, b } = orthonormalFactors(w, 3);
    const q = matrixOf(b);
    for (let i = 0; i < 3; i++)
      for (let j = 0; j < 3; j++) {
        let dot = 0;
        for (let row = 0; row < 6; row++) dot += q.data[row * 3 + i]! * q.data[row * 3 + j]!;
        expect(dot).toBeCloseTo(i === j ? 1 : 0, 6);
        if (i > j) expect(data(a)[i * 8 + j]).toBeCloseTo(0, 6);
      }
    const product = productOf({ a, b });
    for (let row = 0; row < 6; row++)
      for (let j = 0; j < 3; j++) expect(product.data[row * 8 + j]).toBeCloseTo(w.data[row * 8 + j]!, 5);
  });

  it.each([
    ['one that another makes up', matrix(2, 3, [1, 2, 0, 1, 2, 1])],
    ['one of zeros', matrix(3, 3, [0, 1, 0, 0, 0, 1, 0, 2, 0])],
    ['nothing but zeros', matrix(3, 3)],
  ])('has as many directions whatever the columns are: %s', (_, w) => {
    const { a, b } = orthonormalFactors(w, 2);
    const columns = [0, 1].map((k) => Array.from({ length: w.rows }, (_, i) => data(b)[2 * i + k]!));
    const dot = (i: number, j: number) => columns[i]!.reduce((sum, x, at) => sum + x * columns[j]![at]!, 0);
    expect(dot(0, 0)).toBeCloseTo(1, 6);
    expect(dot(1, 1)).toBeCloseTo(1, 6);
    expect(dot(0, 1)).toBeCloseTo(0, 6);
    const product = productOf({ a, b });
    for (let row = 0; row < w.rows; row++)
      for (let j = 0; j < 2; j++) expect(product.data[row * 3 + j]).toBeCloseTo(w.data[row * 3 + j]!, 5);
  });
});

describe('incremental components', () => {
  const rows = rng.fork('rows').normal([60, 6], 1);
  const spread = f32(
    [60, 6],
    data(rows).map((x, i) => x * (6 - (i % 6))),
  );
  const part = (from: number, to: number) => f32([to - from, 6], data(spread).subarray(from * 6, to * 6));

  it('are those of all rows at once, when all are kept', () => {
    const whole = update(emptyPca(6), spread, 6);
    let parts = emptyPca(6);
    for (const [from, to] of [
      [0, 10],
      [10, 11],
      [11, 40],
      [40, 60],
    ] as const)
      parts = update(parts, part(from, to), 6);
    expect(parts.count).toBe(60);
    parts.values.forEach((s, i) => {
      expect(s).toBeCloseTo(whole.values[i]!, 8);
    });
    parts.mean.forEach((m, i) => {
      expect(m).toBeCloseTo(whole.mean[i]!, 10);
    });
    const share = explained(parts).reduce((sum, x) => sum + x, 0);
    expect(share).toBeCloseTo(1, 8);
    expect(whole.scatter).toBeCloseTo(parts.scatter, 6);
  });

  it('are found in a wide input too, of which few are kept', () => {
    const [n, width, k] = [50, 40, 3];
    const near = data(rng.fork('wide').normal([n, width], 0, 0.01));
    const turned = svd(matrixOf(rng.fork('turned').normal([width, k]))).u;
    const wide = Array.from({ length: 3 }, (_, batch) => {
      const z = data(rng.fork('z', batch).normal([n, k]));
      const x = near.map((noise, at) => {
        let sum = noise;
        for (let c = 0; c < k; c++)
          sum += (k - c) * z[Math.floor(at / width) * k + c]! * turned.data[(at % width) * k + c]!;
        return sum;
      });
      return f32([n, width], x);
    });
    const { components } = wide.reduce((pca, batch) => update(pca, batch, k), emptyPca(width));
    // All three directions span what was put in: the noise turns them by about a hundredth.
    for (let i = 0; i < k; i++) {
      let within = 0;
      for (let c = 0; c < k; c++) {
        let along = 0;
        for (let j = 0; j < width; j++) along += components.data[i * width + j]! * turned.data[j * k + c]!;
        within += along ** 2;
      }
      expect(within).toBeGreaterThan(0.999);
    }
  });

  it('have no more directions than the rows', () => {
    const few = update(emptyPca(6), part(0, 3), 6);
    expect(few.values.length).toBe(2); // three points span a plane
    expect(update(few, f32([0, 6], []), 6)).toBe(few);
  });
});

describe('EVA', () => {
  const target = (path: string, inside: number): Target => ({
    kind: 'linear',
    path,
    in: inside,
    out: 4,
    parameters: {},
  });
  const sites = (options: object) => {
    const c = LoraConfig.parse({ r: 2, alpha: 4, init: 'eva', ...options });
    return [target('flat', 6), target('steep', 6), target('twin', 6)].map((t) => ({ target: t, c }));
  };
  /** Inputs of which one is spread evenly, and the two others lie along a line. */
  const look = (options: object, batches: { count: number } = { count: 0 }): Look<LoraSettings> => ({
    sites: sites(options),
    rng,
    weight: () => Promise.reject(new Error('not needed')),
    gradients: () => {
      throw new Error('not needed');
    },
    async *activations(most) {
      for (let i = 0; i < most; i++) {
        batches.count++;
        const flat = rng.fork('flat', i).normal([40, 6]);
        const along = data(rng.fork('along', i).normal([40]));
        const near = data(rng.fork('near', i).normal([40, 6], 0, 0.05));
        const steep = f32(
          [40, 6],
          near.map((x, at) => x + along[Math.floor(at / 6)]! * (1 + (at % 6))),
        );
        yield new Map([
          ['flat', flat],
          ['steep', steep],
          ['twin', steep],
        ]);
      }
    },
  });

  it('gives ranks by explained variance, and keeps their sum and the scale', async () => {
    const count = { count: 0 };
    const planned = await lora.method.plan!(look({ eva: { rho: 2, tau: 1, batches: 7 } }, count));
    const ranks = Object.fromEntries([...planned].map(([path, { c }]) => [path, c!.r]));
    expect(ranks).toEqual({ flat: 4, steep: 1, twin: 1 }); // 6 = 3 targets of rank 2; rho allows no more than 4
    for (const [path, { c, tensors }] of planned) {
      expect(c!.alpha! / c!.r!).toBeCloseTo(2, 10);
      expect(tensors!.a!.shape).toEqual([ranks[path], 6]);
    }
    const first = data(planned.get('steep')!.tensors!.a);
    const along = Math.hypot(1, 2, 3, 4, 5, 6);
    first.forEach((x, i) => {
      expect(Math.abs(x)).toBeCloseTo((i + 1) / along, 2);
    });
    expect(data(planned.get('twin')!.tensors!.a)).toEqual(first);
    expect(count.count).toBe(7); // a cosine of 1 asks for all batches

    const narrow = await lora.method.plan!(look({ r: 1, rslora: true, eva: { rho: 1, batches: 2 } }));
    expect([...narrow].map(([, { c }]) => c!.r)).toEqual([1, 1, 1]);
  });

  it('keeps the scale of rsLoRA too, and stops when the directions have settled', async () => {
    const count = { count: 0 };
    const planned = await lora.method.plan!(look({ rslora: true, eva: { rho: 2, tau: 0.01, batches: 9 } }, count));
    for (const { c } of planned.values()) expect(c!.alpha! / Math.sqrt(c!.r!)).toBeCloseTo(4 / Math.SQRT2, 10);
    expect(count.count).toBe(2);
  });

  it('leaves out a target whose directions explain least', () => {
    const pca = (values: number[]) => ({ ...emptyPca(3), scatter: 10, values: Float64Array.from(values) });
    const found = new Map([
      ['p', pca([2, 1])],
      ['q', pca([0.1])],
      ['s', pca([1.5])],
    ]);
    const most = new Map([...found.keys()].map((path) => [path, 2]));
    expect(Object.fromEntries(distribute(found, most, 3))).toEqual({ p: 2, q: 0, s: 1 });
    expect(Object.fromEntries(distribute(found, most, 99))).toEqual({ p: 2, q: 1, s: 1 });
  });

  it('goes on from an adapter with the ranks it has, without data', async () => {
    const a = rng.fork('a').normal([3, 6]);
    const term = {
      kind: 'low-rank',
      tensors: { a: tensorRef(a), b: tensorRef(rng.fork('b').normal([4, 3])) },
      meta: { scale: 2, transposed: false, embedding: false },
    };
    const delta = { shape: new Map([['steep.weight', [4, 6]]]), params: new Map([['steep.weight', [term]]]) };
    const start = { delta, replaced: new Map(), digest: '' };
    const planned = await lora.method.plan!({ ...look({}), start });
    expect([...planned.keys()]).toEqual(['steep']);
    expect(planned.get('steep')!.c).toEqual({ r: 3, alpha: 6 });

    const nothing = { ...term, meta: { ...term.meta, scale: 0 } };
    const scaled = { ...start, delta: { ...delta, params: new Map([['steep.weight', [nothing]]]) } };
    await expect(lora.method.plan!({ ...look({}), start: scaled })).rejects.toThrow(/"steep" .* is scaled by 0/);
  });
});

describe('a start that looks at the base', () => {
  it('says where it has no meaning', () => {
    const check = (options: object, kind: Target['kind'] = 'linear') => {
      const where: Target = { kind, path: 'm', in: 6, out: 4, parameters: {} };
      return lora.method.check!(where, LoraConfig.parse(options)).join();
    };
    expect(check({ init: 'pissa', r: 5 })).toContain('has 4, not 5');
    expect(check({ init: 'olora', r: 2 }, 'embedding')).toContain('embedding');
    expect(check({ init: 'eva', r: 2 }, 'embedding')).toContain('embedding');
    expect(() => lora({ eva: {} })).toThrow(/eva: has no effect without init "eva"/);
    expect(check({ init: 'pissa', r: 4 })).toBe('');
  });

  it('says all weights that have no direction to start at', async () => {
    const where = ['p', 'q'].map((path): Target => ({ kind: 'linear', path, in: 6, out: 4, parameters: {} }));
    const plan = (init: LoraSettings['init']) =>
      lora.method.plan!({
        sites: where.map((target) => ({ target, c: LoraConfig.parse({ r: 2, init }) })),
        rng,
        weight: async () => f32([4, 6], new Float32Array(24)),
      } as unknown as Look<LoraSettings>);
    await expect(plan('pissa')).rejects.toThrow(/"p.weight" is zero everywhere[\s\S]*"q.weight" is zero everywhere/);
    expect((await plan('olora')).size).toBe(2);
  });

  it('refuses to begin before its plan', () => {
    const where: Target = { kind: 'linear', path: 'm', in: 6, out: 4, parameters: {} };
    expect(() => lora.method.init(where, LoraConfig.parse({ init: 'pissa' }), rng, {})).toThrow(/settle the plan/);
    expect(() => lora.method.init(where, LoraConfig.parse({ dora: true }), rng, {})).toThrow(/"squares"/);
  });
});
