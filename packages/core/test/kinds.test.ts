import { describe, expect, it } from 'vitest';
import { compare } from '../../testkit/src/allclose.js';
import {
  type Adapter,
  applyAdapter,
  applyDelta,
  attachDelta,
  blockTerm,
  builtinKinds,
  compact,
  createRandom,
  type Delta,
  denseTerm,
  doraTerm,
  elementCount,
  f32,
  indexRef,
  isPeftError,
  kindOf,
  lowRankTerm,
  maskTerm,
  mean,
  negate,
  packMask,
  rowsTerm,
  scale,
  scalingTerm,
  slotValues,
  sparseTerm,
  sum,
  type Tensor,
  type Term,
  tensorRef,
  toF32,
  veraTerm,
} from '../src/index.js';
import { chainGraph, chainParameters, chainTargets, runChain } from './support/chain.js';

const parameters = chainParameters();
const random = createRandom(23);
const normal = (name: string, shape: readonly number[]) => tensorRef(random.fork(name).normal(shape));

const messageOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
  } catch (error) {
    return isPeftError(error) ? `${error.code} ${error.message}` : String(error);
  }
  return 'nothing thrown';
};

const adapterOf = (entries: Record<string, readonly Term[]>): Adapter => {
  const shapes = Object.keys(entries).map((path) => [path, parameters.get(path)?.shape ?? [3]] as const);
  return {
    delta: { shape: new Map(shapes), params: new Map(Object.entries(entries)) },
    replaced: new Map(),
    digest: 'x',
  };
};

const near = (got: Tensor, expected: Tensor) => {
  // Logits of three layers in another order of sums.
  const found = compare(got, expected, { relToMax: 2e-6 });
  expect(found.close, found.message).toBe(true);
};

const numbers = async (path: string): Promise<Float32Array> => toF32(await parameters.get(path)!.read()).data;

/** A parameter after the terms. */
async function applied(path: string, terms: readonly Term[]): Promise<Float32Array> {
  const delta: Delta = { shape: new Map([[path, parameters.get(path)!.shape]]), params: new Map([[path, terms]]) };
  return toF32(await applyDelta(parameters, delta).get(path)!.read()).data;
}

const values = (tensor: Tensor): number[] => [...toF32(tensor).data];

/** Terms of each kind for a matrix, as the chain's modules have them. */
const made = {
  sparse: ([m, n]: readonly number[]) =>
    sparseTerm({ indices: indexRef([1, 3, m! * n! - 1], m! * n!), values: normal('sparse', [3]) }, 0.5),
  'block of rows': ([m, n]: readonly number[], transposed: boolean) =>
    blockTerm({ indices: indexRef([0, 2], m!), block: normal('rows', [2, n!]) }, { scale: 2, axis: 0, transposed }),
  'block of columns': ([m, n]: readonly number[], transposed: boolean) =>
    blockTerm({ indices: indexRef([1, 2], n!), block: normal('columns', [m!, 2]) }, { axis: 1, transposed }),
  vera: ([m, n]: readonly number[], transposed: boolean) => {
    const [out, inside] = transposed ? [n!, m!] : [m!, n!];
    // A and B of a wider module; what is behind its columns and rows has no part.
    const shared = { A: normal('A', [3, inside + 2]), B: normal('B', [out + 1, 3]) };
    return veraTerm({ ...shared, d: normal('d', [3]), b: normal('b', [out]) }, { scale: 0.5, transposed });
  },
  rows: ([m, n]: readonly number[]) => rowsTerm({ indices: indexRef([1, m! - 1], m!), values: normal('set', [2, n!]) }),
  dora: ([m, n]: readonly number[], transposed: boolean, embedding: boolean) => {
    const [out, inside] = transposed ? [n!, m!] : [m!, n!];
    const tensors = { a: normal('a', [2, inside]), b: normal('b', [out, 2]), magnitude: normal('m', [out]) };
    return doraTerm(tensors, { scale: 0.5, transposed, embedding });
  },
  mask: (shape: readonly number[]) =>
    maskTerm(packMask(Array.from({ length: elementCount(shape) }, (_, i) => Number(i % 3 !== 1)))),
  'scaled outputs': ([m, n]: readonly number[], transposed: boolean) =>
    scalingTerm(normal('l', [transposed ? n! : m!]), { side: 'output', transposed }),
  'scaled inputs': ([m, n]: readonly number[], transposed: boolean) =>
    scalingTerm(normal('l', [transposed ? m! : n!]), { side: 'input', transposed }),
};

const termsOn = (path: string, make: (typeof made)[keyof typeof made]): Term => {
  const { kind } = chainTargets(parameters).find((target) => target.path === path)!;
  const shape = parameters.get(`${path}.weight`)!.shape;
  return make(shape, kind === 'conv1d' || kind === 'embedding', kind === 'embedding');
};

const places = ['m.embed', 'm.0.q', 'm.0.mix', 'head'];

describe.each(Object.entries(made))('a term: %s', (_, make) => {
  it.each(places)('acts in a graph on %s as in the weight', async (path) => {
    const adapter = adapterOf({ [`${path}.weight`]: [termsOn(path, make)] });
    const merged = applyAdapter(parameters, adapter).parameters;
    near(await runChain(await attachDelta(chainGraph(parameters), adapter)), await runChain(chainGraph(merged)));
  });

  it('is as large as its tensors, and fits only the shape it was made for', () => {
    const term = termsOn('m.0.q', make);
    const kind = kindOf(term, builtinKinds);
    expect(kind.bytes(term)).toBeGreaterThan(0);
    expect(kind.problems(term, [5, 4])).toEqual([]);
    if (term.kind !== 'sparse') expect(kind.problems(term, [9, 8])).not.toEqual([]);
    const stray = { ...term, tensors: { ...term.tensors, more: normal('more', [1]) } };
    expect(kind.problems(stray, [5, 4]).join()).toContain('no tensor "more"');
  });
});

describe('what terms do to a weight', () => {
  it('adds to entries (sparse), of vectors too', async () => {
    const w = await numbers('m.0.q.bias');
    const term = sparseTerm({ indices: indexRef([1, 4], 5), values: tensorRef(f32([2], [3, -1])) }, 2);
    const expected = w.map((x, i) => Math.fround(x + (i === 1 ? 6 : i === 4 ? -2 : 0)));
    expect(await applied('m.0.q.bias', [term])).toEqual(expected);
  });

  it('sums sparse terms as their union, in double precision', async () => {
    const one = sparseTerm({ indices: indexRef([0, 5], 20), values: tensorRef(f32([2], [1, 2])) });
    const two = sparseTerm({ indices: indexRef([5, 7], 20), values: tensorRef(f32([2], [0.5, 4])) }, 2);
    const joined = await builtinKinds.get('sparse')!.add!([one, two, one], [5, 4]);
    expect(values(await joined.tensors.values!.read())).toEqual([2, 5, 8]);
    expect([...((await joined.tensors.indices!.read()).data as Int32Array)]).toEqual([0, 5, 7]);
    expect(joined.meta.scale).toBe(1);
  });

  it('keeps indices beyond int32 as int64', async () => {
    const indices = indexRef([5, 2 ** 33], 2 ** 34);
    expect(indices.dtype).toBe('i64');
    expect((await indices.read()).data).toEqual(BigInt64Array.of(5n, 2n ** 33n));
  });

  it('gives blocks as coordinates in their order', async () => {
    for (const make of [made['block of rows'], made['block of columns']]) {
      const term = make([5, 4], false);
      const { block } = Object.fromEntries(builtinKinds);
      const entries = await block!.entries!(term, [5, 4]);
      const dense = values(await block!.dense(term, [5, 4]));
      const indices = Array.from(entries.indices);
      expect(indices).toEqual([...indices].sort((a, b) => a - b));
      const back = new Array(20).fill(0);
      indices.forEach((at, k) => {
        back[at] = entries.values[k];
      });
      expect(back).toEqual(dense);
    }
  });

  it('gives blocks a slot: x a b = x ΔWᵀ', async () => {
    const { block } = Object.fromEntries(builtinKinds);
    for (const [make, transposed] of [
      [made['block of rows'], false],
      [made['block of columns'], false],
      [made['block of rows'], true],
      [made['block of columns'], true],
    ] as const) {
      const term = make([5, 4], transposed);
      const { a, b, rank } = await block!.slots!(term, [5, 4]);
      const dense = values(await block!.dense(term, [5, 4]));
      const [inside, out] = transposed ? [5, 4] : [4, 5];
      expect([a.shape, b.shape]).toEqual([
        [inside, rank],
        [rank, out],
      ]);
      const [left, right] = [values(a), values(b)];
      for (let i = 0; i < inside; i++)
        for (let o = 0; o < out; o++) {
          let value = 0;
          for (let k = 0; k < rank; k++) value += left[i * rank + k]! * right[k * out + o]!;
          expect(value).toBe(dense[transposed ? i * out + o : o * inside + i]);
        }
    }
  });

  it('scales a product of shared matrices between and behind them (VeRA, eq. 2)', async () => {
    const term = made.vera([5, 4], false);
    const [A, B, d, b] = await Promise.all(
      ['A', 'B', 'd', 'b'].map(async (name) => values(await term.tensors[name]!.read())),
    );
    const dense = values(await kindOf(term, builtinKinds).dense(term, [5, 4]));
    for (let o = 0; o < 5; o++)
      for (let i = 0; i < 4; i++) {
        const sum = [0, 1, 2].reduce((all, k) => all + B![o * 3 + k]! * d![k]! * A![k * 6 + i]!, 0);
        expect(dense[o * 4 + i]).toBeCloseTo(0.5 * b![o]! * sum, 6);
      }
    const narrow = { ...term, tensors: { ...term.tensors, A: normal('A', [3, 3]), B: normal('B', [4, 3]) } };
    expect(kindOf(term, builtinKinds).problems(narrow, [5, 4])).toEqual([
      'its tensor "A" is for 3 inputs, the module has 4',
      'its tensor "B" is for 4 outputs, the module has 5',
    ]);
  });

  it('sets rows, whatever they were', async () => {
    const before = await numbers('m.embed.weight');
    const term = rowsTerm({ indices: indexRef([2], 7), values: tensorRef(f32([1, 4], [1, 2, 3, 4])) });
    const after = await applied('m.embed.weight', [term]);
    expect([...after.subarray(8, 12)]).toEqual([1, 2, 3, 4]);
    expect(after.subarray(0, 8)).toEqual(before.subarray(0, 8));
    expect(after.subarray(12)).toEqual(before.subarray(12));
  });

  it('gives rows the length of the magnitude (DoRA, eq. 5)', async () => {
    const after = await applied('m.0.q.weight', [made.dora([5, 4], false, false)]);
    const m = values(await normal('m', [5]).read());
    for (let o = 0; o < 5; o++) {
      const length = Math.hypot(...after.subarray(4 * o, 4 * o + 4));
      expect(length).toBeCloseTo(Math.abs(m[o]!), 6);
    }
    const w = await numbers('m.0.q.weight');
    const low = lowRankTerm({ a: normal('a', [2, 4]), b: normal('b', [5, 2]) }, { scale: 0.5 });
    const v = values(await kindOf(low, builtinKinds).dense(low, [5, 4])).map((x, i) => x + w[i]!);
    for (let o = 0; o < 5; o++) {
      const factor = m[o]! / Math.hypot(...v.slice(4 * o, 4 * o + 4));
      for (let i = 0; i < 4; i++) expect(after[4 * o + i]).toBeCloseTo(factor * v[4 * o + i]!, 6);
    }
  });

  it('leaves a row of zeros at zero under DoRA', async () => {
    const zeros = new Map([['w', tensorRef(f32([1, 2], [0, 0]))]]);
    const none = { a: tensorRef(f32([1, 2], [0, 0])), b: tensorRef(f32([1, 1], [0])) };
    const term = doraTerm({ ...none, magnitude: tensorRef(f32([1], [3])) }, { scale: 1 });
    const delta: Delta = { shape: new Map([['w', [1, 2]]]), params: new Map([['w', [term]]]) };
    expect(values(await applyDelta(zeros, delta).get('w')!.read())).toEqual([0, 0]);
  });

  it('masks elements, and multiplies rows or columns', async () => {
    const w = await numbers('m.0.q.weight');
    expect(await applied('m.0.q.weight', [made.mask([5, 4])])).toEqual(w.map((x, i) => (i % 3 === 1 ? 0 : x)));
    const l = values(await normal('l', [5]).read());
    expect(await applied('m.0.q.weight', [made['scaled outputs']([5, 4], false)])).toEqual(
      w.map((x, i) => Math.fround(x * l[Math.floor(i / 4)]!)),
    );
    expect(await applied('m.0.q.weight', [made['scaled inputs']([5, 4], false)])).toEqual(
      w.map((x, i) => Math.fround(x * l[i % 4]!)),
    );
  });

  it('reads rows of a changed parameter alone', async () => {
    const delta = adapterOf({ 'm.0.q.weight': [made.mask([5, 4]), made.dora([5, 4], false, false)] }).delta;
    const ref = applyDelta(parameters, delta).get('m.0.q.weight')!;
    const part = await ref.read({ from: 1, to: 3 });
    expect(part.shape).toEqual([2, 4]);
    expect(values(part)).toEqual(values(await ref.read()).slice(4, 12));
  });

  it('keeps the precision of a base in f64', async () => {
    const wide = new Map([['w', tensorRef({ dtype: 'f64', shape: [1, 2], data: Float64Array.of(1 + 2 ** -40, 1) })]]);
    const term = scalingTerm(tensorRef(f32([1], [3])), { side: 'output' });
    const delta: Delta = { shape: new Map([['w', [1, 2]]]), params: new Map([['w', [term]]]) };
    expect((await applyDelta(wide, delta).get('w')!.read()).data).toEqual(Float64Array.of(3 * (1 + 2 ** -40), 3));
  });
});

describe('terms on one parameter', () => {
  const dsee = (): Term[] => [
    made.mask([5, 4]),
    lowRankTerm({ a: normal('u', [2, 4]), b: normal('v', [5, 2]) }, { scale: 0.5 }),
    made.sparse([5, 4]),
  ];

  it('act in their order: W ⊙ S + s (U V + S₂)', async () => {
    const w = await numbers('m.0.q.weight');
    const [, low, few] = dsee() as [Term, Term, Term];
    const parts = await Promise.all([low, few].map((t) => kindOf(t, builtinKinds).dense(t, [5, 4])));
    const [uv, s2] = parts.map(values) as [number[], number[]];
    const expected = w.map((x, i) => Math.fround((i % 3 === 1 ? 0 : x) + (uv[i]! + s2[i]!)));
    expect(await applied('m.0.q.weight', dsee())).toEqual(expected);
    const turned = [...dsee()].reverse();
    expect(await applied('m.0.q.weight', turned)).not.toEqual(expected);
  });

  it('act in the same order in a graph', async () => {
    const orders: Term[][] = [
      dsee(),
      [...dsee()].reverse(),
      [made.sparse([5, 4]), made.dora([5, 4], false, false), made['scaled inputs']([5, 4], false)],
      [made.dora([5, 4], false, false), made['scaled outputs']([5, 4], false), made['block of columns']([5, 4], false)],
    ];
    for (const terms of orders) {
      const adapter = adapterOf({
        'm.0.q.weight': terms,
        'm.0.q.bias': [scalingTerm(normal('l', [5]), { side: 'output' }), denseTerm(normal('db', [5]))],
        'm.0.mix.weight': [made['scaled outputs']([5, 6], true)],
      });
      const merged = applyAdapter(parameters, adapter).parameters;
      near(await runChain(await attachDelta(chainGraph(parameters), adapter)), await runChain(chainGraph(merged)));
    }
  });

  it('leave a bias absent that the base does not have, where they keep zeros', async () => {
    const l = normal('l', [3]);
    const adapter = adapterOf({
      'head.weight': [scalingTerm(l, { side: 'output' })],
      'head.bias': [scalingTerm(l, { side: 'output' })],
    });
    const merged = applyAdapter(parameters, adapter).parameters;
    expect(merged.has('head.bias')).toBe(false);
    near(await runChain(await attachDelta(chainGraph(parameters), adapter)), await runChain(chainGraph(merged)));
    const added = adapterOf({ 'head.bias': [denseTerm(l)] });
    expect(await messageOf(() => applyAdapter(parameters, added))).toContain('no parameter "head.bias"');
  });

  it('come after sums that are attached already only where their order does not count', async () => {
    const first = adapterOf({ 'm.0.q.weight': [made.sparse([5, 4])] });
    const scaled = adapterOf({ 'm.0.q.weight': [made['scaled outputs']([5, 4], false)] });
    const model = await attachDelta(chainGraph(parameters), first);
    const both = adapterOf({ 'm.0.q.weight': [made.sparse([5, 4]), made['scaled outputs']([5, 4], false)] });
    near(
      await runChain(await attachDelta(model, scaled)),
      await runChain(chainGraph(applyAdapter(parameters, both).parameters)),
    );
    const dora = adapterOf({ 'm.0.q.weight': [made.dora([5, 4], false, false)] });
    const again = await attachDelta(chainGraph(parameters), first);
    expect(await messageOf(() => attachDelta(again, dora))).toContain(
      'DELTA_CONFLICT Something is attached to "m.0.q"',
    );
  });

  it('change a tied head with the table where they set its rows', async () => {
    const table = parameters.get('m.embed.weight')!;
    const tied = chainGraph(parameters);
    const head = tied.sites.get('m.0.q')!; // pretend: a linear module whose (out, in) weight is one table with another
    const shared = { ...head.target, parameters: { weight: table } };
    const sites = new Map(tied.sites).set('m.0.q', { ...head, target: shared });
    const term = rowsTerm({ indices: indexRef([2], 7), values: normal('set', [1, 4]) });
    const before = tied.graph.nodes.length;
    await attachDelta({ ...tied, sites }, adapterOf({ 'm.embed.weight': [term] }));
    const ops = tied.graph.nodes.slice(before - 1).map(({ op }) => op);
    expect(tied.graph.weights.has('adapter0:m.embed.weight:0.values')).toBe(true);
    expect(tied.graph.weights.has('adapter0:m.0.q.weight:0.values')).toBe(true);
    expect(ops).toContain('Where');
    expect(ops).toContain('Concat');
  });
});

describe('what is not a sum', () => {
  const kinds = ['rows', 'dora', 'mask', 'scaled outputs'] as const;

  it.each(kinds)('refuses the algebra of sums: %s', async (name) => {
    const term = made[name]([5, 4], false, false);
    const adapter = adapterOf({ 'm.0.q.weight': [term] });
    const low = adapterOf({
      'm.0.q.weight': [lowRankTerm({ a: normal('a', [1, 4]), b: normal('b', [5, 1]) }, { scale: 1 })],
    });
    const expected = new RegExp(`^DELTA_CONFLICT .*"m.0.q.weight" .*kind ${term.kind}`, 's');
    expect(await messageOf(() => scale(adapter, 0.5))).toMatch(expected);
    expect(await messageOf(() => negate(adapter.delta))).toMatch(expected);
    expect(await messageOf(() => sum(low, adapter))).toMatch(expected);
    expect(await messageOf(() => sum(adapter.delta, low.delta))).toMatch(expected);
    expect(await messageOf(() => compact(adapter.delta, { rank: 1 }))).toMatch(expected);
    expect(await messageOf(() => attachDelta(chainGraph(parameters), adapter, { weight: 0.5 }))).toMatch(expected);
    expect(await messageOf(() => attachDelta(chainGraph(parameters), adapter, { weight: 'input' }))).toMatch(expected);
    const kind = kindOf(term, builtinKinds);
    expect(await messageOf(() => kind.dense(term, [5, 4]))).toContain(`DELTA_CONFLICT An update of kind ${term.kind}`);
    expect(await messageOf(() => kind.scale(term, 2))).toContain('DELTA_CONFLICT');
    const sites = new Map(chainTargets(parameters).map((target) => [target.path, target]));
    expect(await messageOf(() => slotValues(adapter, sites, { rank: 4 }))).toContain('DELTA_CONFLICT');
  });

  it('stands beside updates of other parameters', async () => {
    const one = adapterOf({ 'm.0.q.weight': [made.dora([5, 4], false, false)] });
    const two = adapterOf({ 'head.weight': [made.sparse([3, 6])] });
    const both = sum(one, two);
    expect([...both.delta.params.keys()]).toEqual(['m.0.q.weight', 'head.weight']);
    expect(scale(one, 1)).toBe(one);
    const { delta } = await compact(adapterOf({ 'm.0.q.weight': [made.mask([5, 4]), made.sparse([5, 4])] }).delta);
    expect(delta.params.get('m.0.q.weight')!.map(({ kind }) => kind)).toEqual(['mask', 'sparse']);
  });
});

describe('the mean of updates', () => {
  const only = (path: string, terms: readonly Term[]): Delta => adapterOf({ [path]: terms }).delta;
  const of = (...parts: readonly (readonly [Delta, number])[]) => parts.map(([delta, weight]) => ({ delta, weight }));
  const vector = (...list: number[]) => scalingTerm(tensorRef(f32([list.length], list)), { side: 'output' });

  it('is that of what they make of a base', async () => {
    const [one, two] = [only('head.weight', [vector(1, 2, 3)]), only('head.weight', [vector(5, 6, 7)])];
    const { params } = await mean(of([one, 0.25], [two, 0.75]));
    const [term] = params.get('head.weight')!;
    expect(values(await term!.tensors.vector!.read())).toEqual([4, 5, 6]);
    const few = only('m.0.q.weight', [made.sparse([5, 4])]);
    const sums = await mean(of([few, 0.5], [few, 0.5]));
    expect(sums.params.get('m.0.q.weight')!.map(({ meta }) => meta.scale)).toEqual([0.25, 0.25]);
  });

  it('is refused where there is none', async () => {
    const one = only('head.weight', [vector(1, 2, 3)]);
    expect(await messageOf(() => mean(of([one, 0.5], [one, 1])))).toMatch(/^CONFIG_INVALID .*add up to 1.5/);
    const masked = only('m.0.q.weight', [made.mask([5, 4])]);
    expect(await messageOf(() => mean(of([masked, 0.5], [masked, 0.5])))).toMatch(
      /^DELTA_CONFLICT .*mask, which has no mean/,
    );
    const sparse = only('head.weight', [made.sparse([3, 6])]);
    expect(await messageOf(() => mean(of([one, 0.5], [sparse, 0.5])))).toContain('kind scaling in some of them alone');
    const input = only('m.0.q.weight', [made['scaled inputs']([5, 4], false)]);
    const output = only('m.0.q.weight', [made['scaled outputs']([5, 4], false)]);
    expect(await messageOf(() => mean(of([input, 0.5], [output, 0.5])))).toContain('at inputs and at outputs');
  });
});

describe('numbers that break the rules of a kind', () => {
  const check = async (term: Term, shape: readonly number[]) => kindOf(term, builtinKinds).check!(term, shape);
  const ints = (...list: number[]) => tensorRef({ dtype: 'i32', shape: [list.length], data: Int32Array.from(list) });
  const two = tensorRef(f32([2], [1, 2]));

  it.each([
    ['outside', [0, 20], 'its index 20 at 1 is outside 0 to 19'],
    ['negative', [-1, 3], 'its index -1 at 0 is outside'],
    ['twice', [3, 3], 'its index 3 is there twice'],
    ['unsorted', [5, 3], 'not ascending at 1: 3 after 5'],
  ])('indices %s', async (_, list, problem) => {
    const term = sparseTerm({ indices: ints(...list), values: two });
    expect((await check(term, [5, 4])).join()).toContain(problem);
    expect(await messageOf(() => kindOf(term, builtinKinds).dense(term, [5, 4]))).toContain('ADAPTER_INVALID');
    const set = rowsTerm({ indices: ints(...list), values: tensorRef(f32([2, 1], [1, 2])) });
    expect((await check(set, [20, 1])).join()).toContain(problem);
    const block = blockTerm({ indices: ints(...list), block: tensorRef(f32([2, 1], [1, 2])) }, { axis: 0 });
    expect((await check(block, [20, 1])).join()).toContain(problem);
  });

  it('bits behind the last element of a mask', async () => {
    const bits = tensorRef({ dtype: 'u8', shape: [1], data: Uint8Array.of(0b1000_0001) });
    expect(await check(maskTerm(bits), [3])).toEqual(['its last byte has bits behind the last element']);
    expect(await check(maskTerm(bits), [8])).toEqual([]);
  });

  it('shapes, dtypes and meta', () => {
    const problems = (term: Term, shape: readonly number[]) =>
      kindOf(term, builtinKinds).problems(term, shape).join('; ');
    expect(problems(sparseTerm({ indices: two, values: two }), [5])).toContain('its tensor "indices" is f32');
    expect(problems(sparseTerm({ indices: ints(1, 2, 3), values: two }, Number.NaN), [5])).toMatch(
      /"values" is \[2\], needed is \[3\].*scale is NaN/,
    );
    const odd = { ...made['block of rows']([5, 4], false), meta: { axis: 2, scale: 1 } };
    expect(problems(odd, [5, 4])).toContain('its axis is 2');
    expect(problems(odd, [5])).toContain('the parameter is [5]');
    expect(problems(scalingTerm(two, { side: 'input' }), [2])).toContain('no inputs to scale');
    expect(problems({ kind: 'scaling', tensors: { vector: two }, meta: { side: 'both' } }, [2, 2])).toContain('both');
    expect(problems(maskTerm(two), [9])).toContain('its tensor "bits" is f32');
    expect(problems({ kind: 'dora', tensors: {}, meta: {} }, [5, 4])).toMatch(/tensors a and b.*"magnitude"/);
  });
});
