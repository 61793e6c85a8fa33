import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  applyDelta,
  contentDigest,
  createRandom,
  type Delta,
  denseTerm,
  lowRankTerm,
  readAdapter,
  type Term,
  tensorRef,
  writeAdapter,
} from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import {
  cat,
  type Keep,
  knots,
  type LoraInput,
  loraMerges,
  mergeAdapters,
  peftCat,
  peftDareLinear,
  peftDareLinearSvd,
  peftLinear,
  peftMagnitudePruneSvd,
  peftSvd,
  peftTies,
  peftTiesSvd,
  seeded,
  sharedA,
  svd,
} from '../src/lora/index.js';

const random = createRandom(5);
const normal = (name: string, shape: readonly number[]) => tensorRef(random.fork(name).normal(shape));

const paths = ['q.weight', 'v.weight'] as const;
const shapes = { 'q.weight': [10, 8], 'v.weight': [6, 8] } as const;

const adapterOf = async (delta: Delta, replaced = new Map()): Promise<Adapter> => ({
  delta,
  replaced,
  digest: await contentDigest({ delta, replaced }),
});

const factors = (name: string, path: keyof typeof shapes, r: number, scale: number, transposed = false): Term => {
  const [rows, columns] = shapes[path];
  const [out, inside] = transposed ? [columns, rows] : [rows, columns];
  const tensors = { a: normal(`${name}${path}a`, [r, inside]), b: normal(`${name}${path}b`, [out, r]) };
  return lowRankTerm(tensors, { scale, transposed });
};

const make = (name: string, r = 2, scale = 1.5, on: readonly (keyof typeof shapes)[] = paths, transposed = false) =>
  adapterOf({
    shape: new Map(on.map((path) => [path, shapes[path]])),
    params: new Map(on.map((path) => [path, [factors(name, path, r, scale, transposed)]])),
  });

/** ΔW of every parameter in double precision. */
async function whole({ delta }: Adapter): Promise<Map<string, Float64Array>> {
  const base = new Map(
    [...delta.shape].map(([path, shape]) => {
      const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
      return [path, tensorRef({ dtype: 'f64', shape, data })] as const;
    }),
  );
  const all = new Map<string, Float64Array>();
  for (const [path, ref] of applyDelta(base, delta)) all.set(path, (await ref.read()).data as Float64Array);
  return all;
}

const norm = (x: Float64Array) => Math.sqrt(x.reduce((total, v) => total + v * v, 0));

/** ‖got - want‖ / ‖want‖ of the worst parameter. */
async function distance(got: Adapter, want: ReadonlyMap<string, Float64Array>): Promise<number> {
  const all = await whole(got);
  expect([...all.keys()].sort()).toEqual([...want.keys()].sort());
  return Math.max(...[...want].map(([path, y]) => norm(all.get(path)!.map((x, i) => x - y[i]!)) / (norm(y) || 1)));
}

/** Σ wᵢ ΔWᵢ written out. */
async function weightedSum(inputs: readonly { input: Adapter; weight: number }[]): Promise<Map<string, Float64Array>> {
  const sum = new Map<string, Float64Array>();
  for (const { input, weight } of inputs)
    for (const [path, x] of await whole(input)) {
      const y = sum.get(path) ?? new Float64Array(x.length);
      sum.set(
        path,
        y.map((v, i) => v + weight * x[i]!),
      );
    }
  return sum;
}

const failure = async (run: () => Promise<unknown>): Promise<string> => {
  try {
    await run();
  } catch (error) {
    return `${(error as { code?: string }).code} ${(error as Error).message}`;
  }
  return 'nothing thrown';
};

const rounding = 1e-6; // factors and sums are rounded to float32

describe('exact merges', async () => {
  const three = [
    { input: await make('a'), weight: 0.7 },
    { input: await make('b', 3, 0.5, ['q.weight']), weight: -0.4 },
    { input: await make('c', 2, 2, ['v.weight', 'q.weight']), weight: 0.5 },
  ];

  for (const [name, method] of [
    ['cat', cat()],
    ['svd', svd()],
    ['peft-cat', peftCat()],
    ['peft-svd', peftSvd({ rank: 7 })],
    ['knots', knots({ merge: 'task-vectors', reduce: 'sum' })],
  ] as const)
    it(`${name} is the weighted sum, whatever the ranks and the modules`, async () => {
      const { adapter } = await mergeAdapters(method, three);
      expect(await distance(adapter, await weightedSum(three))).toBeLessThan(rounding);
    });

  it('gives one times an adapter for weights that sum to one', async () => {
    const one = await make('a');
    for (const weights of [
      [0.5, 0.5],
      [0.25, 0.25, 0.5],
      [3, -2],
    ])
      for (const method of [cat(), svd(), peftCat(), peftSvd(), sharedA()]) {
        const { adapter } = await mergeAdapters(
          method,
          weights.map((weight) => ({ input: one, weight })),
        );
        expect(await distance(adapter, await whole(one))).toBeLessThan(rounding);
      }
  });

  it('does not depend on the order of the adapters', async () => {
    const turned = [...three].reverse();
    for (const method of [cat(), svd({ rank: 3 }), knots(), peftTiesSvd({ density: 0.5 })]) {
      const [one, two] = [await mergeAdapters(method, three), await mergeAdapters(method, turned)];
      expect(await distance(two.adapter, await whole(one.adapter))).toBeLessThan(rounding);
    }
  });

  it('truncates no worse than any other combination of the same rank, and says what is lost', async () => {
    const want = await weightedSum(three);
    const { adapter, report } = await mergeAdapters(svd({ rank: 3 }), three);
    for (const [path, { rank, discarded }] of report!.truncated) {
      expect(rank).toBe(3);
      const gap =
        norm((await whole(adapter)).get(path)!.map((x, i) => x - want.get(path)![i]!)) / norm(want.get(path)!);
      expect(Math.abs(gap * gap - discarded)).toBeLessThan(rounding);
    }
    const worse = (await mergeAdapters(peftMagnitudePruneSvd({ density: 0.9, rank: 3 }), three)).adapter;
    expect(await distance(worse, want)).toBeGreaterThan(await distance(adapter, want));
  });

  it('puts together factors of transposed weights, even beside others', async () => {
    const mixed = [
      { input: await make('t', 2, 1, paths, true), weight: 0.5 },
      { input: await make('u', 2, 1), weight: 2 },
    ];
    for (const method of [cat(), svd(), peftCat(), knots({ merge: 'task-vectors', reduce: 'sum' })]) {
      const { adapter } = await mergeAdapters(method, mixed);
      expect(await distance(adapter, await weightedSum(mixed))).toBeLessThan(rounding);
    }
  });

  it('sums B alone where A is shared, and refuses to where it is not', async () => {
    const [one, other] = [await make('a'), await make('b')];
    const params = new Map(
      paths.map((path) => {
        const [x, y] = [one, other].map(({ delta }) => delta.params.get(path)![0]!);
        return [path, [{ ...y!, tensors: { a: x!.tensors.a!, b: y!.tensors.b! } }]] as const;
      }),
    );
    const twin = await adapterOf({ shape: other.delta.shape, params });
    const inputs = [
      { input: one, weight: 0.3 },
      { input: twin, weight: 0.7 },
    ];
    const { adapter } = await mergeAdapters(sharedA(), inputs);
    expect(adapter.delta.params.get('q.weight')![0]!.tensors.a!.shape[0]).toBe(2);
    expect(await distance(adapter, await weightedSum(inputs))).toBeLessThan(rounding);
    const message = await failure(() => mergeAdapters(sharedA(), [one, other]));
    for (const part of ['DELTA_CONFLICT', '"q.weight"', '"v.weight"', 'Use cat or svd'])
      expect(message).toContain(part);
  });

  it('makes adapters that files hold', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'peftjs-merge-lora-'));
    for (const [name, { merge }] of loraMerges) {
      const options = { density: 0.5 };
      const bound = merge.config.safeParse(options).success
        ? loraMerges.get(name)!(options as never)
        : loraMerges.get(name)!();
      const same = await make('a');
      const { adapter } = await mergeAdapters(bound, name === 'shared-a' ? [same, same] : [same, await make('b')]);
      await writeAdapter(join(folder, name), adapter);
      const again = await readAdapter(join(folder, name), { warn: (text) => expect.unreachable(text) });
      if ([...adapter.delta.params.values()].every(([term]) => term!.meta.transposed !== true))
        expect(await distance(again, await whole(adapter))).toBeLessThan(rounding);
    }
    await rm(folder, { recursive: true });
  });
});

describe('rules of PEFT', async () => {
  const [a, b] = [await make('a'), await make('b')];
  const gain = async (method: Parameters<typeof mergeAdapters>[0]) => {
    const inputs = [a, a].map((input) => ({ input, weight: 0.5 }));
    const own = (await whole(a)).get('q.weight')!;
    const got = (await whole((await mergeAdapters(method, inputs)).adapter)).get('q.weight')!;
    return got.reduce((sum, x, i) => sum + x * own[i]!, 0) / norm(own) ** 2;
  };

  it('make of two halves of one adapter what PEFT makes of them', async () => {
    expect(await gain(peftLinear())).toBeCloseTo(2, 5);
    expect(await gain(peftTies({ density: 1 }))).toBeCloseTo(0.5, 5);
    expect(await gain(peftTiesSvd({ density: 1 }))).toBeCloseTo(0.5, 5);
    expect(await gain(peftMagnitudePruneSvd({ density: 1 }))).toBeCloseTo(1, 5);
  });

  it('only scale a single adapter', async () => {
    for (const method of [peftLinear(), peftTies({ density: 0.1 }), peftSvd({ rank: 1 }), peftCat()]) {
      const inputs = [{ input: a, weight: -0.6 }];
      expect(await distance((await mergeAdapters(method, inputs)).adapter, await weightedSum(inputs))).toBeLessThan(
        rounding,
      );
    }
  });

  it('draw the same masks for the same seed, and others for another', async () => {
    const run = async (seed: number) =>
      whole((await mergeAdapters(peftDareLinear({ density: 0.5 }), [a, b], { seed })).adapter);
    expect(await run(1)).toEqual(await run(1));
    expect(await run(2)).not.toEqual(await run(1));
    const mask = seeded(3)({ input: 0, path: 'p', part: 'a', shape: [100, 100], density: 0.3 });
    const share = mask.reduce((sum, x) => sum + x, 0) / mask.length;
    expect(Math.abs(share - 0.3)).toBeLessThan(0.03); // more than six standard deviations of 10000 draws
  });

  it('keep the mean of an adapter under DARE', async () => {
    const want = await weightedSum([
      { input: a, weight: 1 },
      { input: b, weight: 1 },
    ]);
    const mean = new Map([...want].map(([path, x]) => [path, new Float64Array(x.length)]));
    const runs = 300;
    for (let seed = 0; seed < runs; seed++) {
      const { adapter } = await mergeAdapters(peftDareLinearSvd({ density: 0.5, rank: 8 }), [a, b], { seed });
      for (const [path, x] of await whole(adapter))
        mean.set(
          path,
          mean.get(path)!.map((v, i) => v + x[i]! / runs),
        );
    }
    // Noise of the mean: sqrt((1/p - 1) / runs) = 0.06 of the norm.
    for (const [path, x] of mean)
      expect(norm(x.map((v, i) => v - want.get(path)![i]!)) / norm(want.get(path)!)).toBeLessThan(0.12);
  });

  it('refuse other ranks, other kinds, several terms and biases, all at once', async () => {
    expect(await failure(async () => mergeAdapters(peftLinear(), [a, await make('c', 3)]))).toMatch(
      /DELTA_CONFLICT[\s\S]*"q\.weight" has ranks 2 and 3[\s\S]*"v\.weight"/,
    );
    const odd = await adapterOf({
      shape: new Map([['q.weight', [10, 8]] as const, ['q.bias', [10]] as const]),
      params: new Map([
        ['q.weight', [factors('x', 'q.weight', 2, 1), factors('y', 'q.weight', 2, 1)]],
        ['q.bias', [denseTerm(normal('bias', [10]))]],
      ]),
    });
    for (const method of [peftTies({ density: 0.5 }), peftSvd(), knots()]) {
      const message = await failure(() => mergeAdapters(method, [a, odd]));
      for (const part of ['DELTA_CONFLICT', '"q.bias" has an update of kind dense', '"q.weight" has 2 terms'])
        expect(message).toContain(part);
    }
  });

  it('refuse masks of another size, options and weights that make no sense', async () => {
    const short: Keep = () => new Uint8Array(3);
    expect(await failure(() => mergeAdapters(peftDareLinear({ density: 0.5 }), [a, b], { keep: short }))).toContain(
      'A mask of 3 elements',
    );
    expect(() => peftTies({ density: 0 })).toThrow(/density/);
    expect(() => peftLinear({ density: 0.5 } as never)).toThrow(/density/);
    const weights: LoraInput[] = [
      { input: a, weight: Number.NaN },
      { input: b, weight: Number.POSITIVE_INFINITY },
    ];
    expect(await failure(() => mergeAdapters(cat(), weights))).toMatch(/CONFIG_INVALID[\s\S]*NaN[\s\S]*Infinity/);
    expect(await failure(() => mergeAdapters(cat(), []))).toContain('no adapters');
  });

  it('keep what one adapter replaces, and refuse replacements that meet or are weighted', async () => {
    const head = new Map([['head.weight', normal('head', [2, 2])]]);
    const [one, other] = [await adapterOf(a.delta, head), await adapterOf(b.delta, new Map(head))];
    expect([...(await mergeAdapters(cat(), [one, b])).adapter.replaced.keys()]).toEqual(['head.weight']);
    expect(await failure(() => mergeAdapters(cat(), [one, other]))).toContain('head.weight');
    expect(await failure(() => mergeAdapters(cat(), [{ input: one, weight: 0.5 }, b]))).toContain('cannot be scaled');
  });
});

describe('KnOTS', async () => {
  const inputs = [
    { input: await make('a'), weight: 1 },
    { input: await make('b', 3), weight: 1 },
  ];

  it('with no conflict is plain averaging', async () => {
    const { adapter } = await mergeAdapters(knots({ merge: 'task-vectors' }), inputs);
    const half = inputs.map(({ input }) => ({ input, weight: 0.5 }));
    expect(await distance(adapter, await weightedSum(half))).toBeLessThan(rounding);
  });

  it('gives an adapter merged with itself back', async () => {
    const same = [inputs[0]!, inputs[0]!];
    for (const merge of ['ties', 'task-vectors'] as const) {
      const { adapter } = await mergeAdapters(knots({ merge }), same);
      expect(await distance(adapter, await whole(same[0]!.input))).toBeLessThan(rounding);
    }
  });

  it('has at most the rank of all adapters together, and of no more directions than there are', async () => {
    const { adapter } = await mergeAdapters(knots({ density: 0.3 }), inputs);
    expect(adapter.delta.params.get('q.weight')![0]!.tensors.a!.shape[0]).toBe(5);
    const same = await mergeAdapters(knots(), [inputs[0]!, inputs[0]!]);
    expect(same.adapter.delta.params.get('q.weight')![0]!.tensors.a!.shape[0]).toBe(2);
  });

  it('drops to what DARE keeps, on average the same', async () => {
    const drop = await mergeAdapters(knots({ merge: 'task-vectors', drop: 0.5 }), inputs, { seed: 4 });
    const plain = await whole((await mergeAdapters(knots({ merge: 'task-vectors' }), inputs)).adapter);
    const gap = await distance(drop.adapter, plain);
    expect(gap).toBeGreaterThan(0.1);
    expect(gap).toBeLessThan(2);
  });
});
