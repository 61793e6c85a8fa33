import { describe, expect, it } from 'vitest';
import {
  type Adapter,
  applyAdapter,
  applyDelta,
  builtinKinds,
  cast,
  contentDigest,
  createRandom,
  type Delta,
  defineKind,
  dense,
  denseTerm,
  f32,
  isPeftError,
  lowRank,
  lowRankTerm,
  negate,
  scale,
  sum,
  type Tensor,
  type TensorRef,
  type Term,
  tensorRef,
  toF32,
  unapply,
  withKinds,
} from '../src/index.js';

const random = createRandom(7);
const normal = (name: string, shape: readonly number[]) => random.fork(name).normal(shape);

const codeOf = async (run: () => unknown): Promise<string> => {
  try {
    await run();
  } catch (error) {
    return isPeftError(error) ? error.code : String(error);
  }
  return 'nothing thrown';
};

const term = (name: string, [m, n]: readonly [number, number], r: number, s: number, transposed = false): Term =>
  lowRankTerm(
    { a: tensorRef(normal(`${name}a`, [r, n])), b: tensorRef(normal(`${name}b`, [m, r])) },
    { scale: s, transposed },
  );

const deltaOf = (entries: Record<string, readonly Term[]>, shape: readonly number[]): Delta => ({
  shape: new Map(Object.keys(entries).map((path) => [path, shape])),
  params: new Map(Object.entries(entries)),
});

const adapterOf = async (delta: Delta, replaced: Record<string, TensorRef> = {}): Promise<Adapter> => {
  const map = new Map(Object.entries(replaced));
  return { delta, replaced: map, digest: await contentDigest({ delta, replaced: map }) };
};

/** ΔW written out in double precision. */
async function product({ tensors, meta }: Term): Promise<{ at(o: number, i: number): number }> {
  const [a, b] = [toF32(await tensors.a!.read()), toF32(await tensors.b!.read())];
  const [r, n] = a.shape as [number, number];
  return {
    at(o, i) {
      let value = 0;
      for (let k = 0; k < r; k++) value += b.data[o * r + k]! * a.data[k * n + i]!;
      return Number(meta.scale) * value;
    },
  };
}

/** The largest difference of two tensors and where it is. */
function apart(got: Tensor, expected: Tensor): { difference: number; at: number } {
  expect(got.shape).toEqual(expected.shape);
  const [x, y] = [toF32(got).data, toF32(expected).data];
  let at = 0;
  for (let i = 0; i < x.length; i++) if (Math.abs(x[i]! - y[i]!) > Math.abs(x[at]! - y[at]!)) at = i;
  return { difference: Math.abs(x[at]! - y[at]!), at };
}

describe('low-rank terms', () => {
  it('multiply out in both layouts', async () => {
    const plain = term('t', [3, 4], 2, 1.5);
    const turned = { ...plain, meta: { ...plain.meta, transposed: true } };
    const exact = await product(plain);
    const [w, wt] = [await lowRank.dense(plain, [3, 4]), await lowRank.dense(turned, [4, 3])];
    for (let o = 0; o < 3; o++)
      for (let i = 0; i < 4; i++) {
        expect(w.data[o * 4 + i]).toBe(Math.fround(exact.at(o, i)));
        expect(wt.data[i * 3 + o]).toBe(w.data[o * 4 + i]);
      }
    expect([w.shape, wt.shape]).toEqual([
      [3, 4],
      [4, 3],
    ]);
  });

  it('add as factors side by side', async () => {
    const parts = [term('x', [5, 4], 2, 0.5), term('y', [5, 4], 3, 2)];
    const joined = await lowRank.add!(parts, [5, 4]);
    expect(joined.tensors.a!.shape).toEqual([5, 4]);
    const whole = await dense.add!(
      await Promise.all(parts.map(async (p) => denseTerm(tensorRef(await lowRank.dense(p, [5, 4]))))),
      [5, 4],
    );
    // Each side rounds a sum of about ten products once or twice: 1e-6 on numbers of about 5.
    expect(apart(await lowRank.dense(joined, [5, 4]), await dense.dense(whole, [5, 4])).difference).toBeLessThan(2e-6);
  });

  it('give slots whose product is ΔWᵀ, scale inside', async () => {
    const one = term('s', [3, 4], 2, 0.25);
    const { a, b, rank } = await lowRank.slots!(one, [3, 4]);
    expect([a.shape, b.shape, rank]).toEqual([[4, 2], [2, 3], 2]);
    const w = await lowRank.dense(one, [3, 4]);
    for (let i = 0; i < 4; i++)
      for (let o = 0; o < 3; o++) {
        const value = Number(a.data[2 * i]) * Number(b.data[o]) + Number(a.data[2 * i + 1]) * Number(b.data[3 + o]);
        expect(value).toBeCloseTo(Number(w.data[o * 4 + i]), 6);
      }
  });

  it('say what does not fit', () => {
    expect(lowRank.problems(term('p', [3, 4], 2, 1), [3, 4])).toEqual([]);
    expect(lowRank.problems(term('p', [3, 4], 2, 1), [4, 3])[0]).toContain('[3,4]');
    expect(lowRank.problems(term('p', [3, 4], 2, Number.NaN), [3, 4])[0]).toContain('NaN');
    expect(lowRank.problems(denseTerm(tensorRef(f32([1], [0]))), [1])[0]).toContain('needs tensors a and b');
    expect(lowRank.bytes(term('p', [3, 4], 2, 1))).toBe(4 * (2 * 4 + 3 * 2));
  });
});

describe('algebra of updates', () => {
  const shape = [3, 4];
  const one = deltaOf({ 'm.weight': [term('1', [3, 4], 2, 2)] }, shape);
  const two = deltaOf({ 'm.weight': [term('2', [3, 4], 1, 1)], 'n.weight': [term('3', [3, 4], 1, 1)] }, shape);

  it('sums by standing side by side', () => {
    const both = sum(one, two);
    expect([...both.params.keys()]).toEqual(['m.weight', 'n.weight']);
    expect(both.params.get('m.weight')).toEqual([...one.params.get('m.weight')!, ...two.params.get('m.weight')!]);
  });

  it('cancels exactly: W + Δ - Δ is W to the bit', async () => {
    const base = new Map([['m.weight', tensorRef(normal('w', shape))]]);
    const nothing = applyDelta(base, sum(one, negate(one)));
    expect((await nothing.get('m.weight')!.read()).data).toEqual((await base.get('m.weight')!.read()).data);
  });

  it('scales without touching a tensor', () => {
    const [half] = scale(one, 0.5).params.get('m.weight')!;
    expect(half!.meta.scale).toBe(1);
    expect(half!.tensors).toBe(one.params.get('m.weight')![0]!.tensors);
    expect(scale(one, 1)).toBe(one);
  });

  it('refuses shapes that differ and two replacements of one parameter', async () => {
    const other = deltaOf({ 'm.weight': [term('o', [4, 4], 1, 1)] }, [4, 4]);
    expect(await codeOf(() => sum(one, other))).toBe('DELTA_CONFLICT');
    const head = { 'head.weight': tensorRef(f32([1], [1])) };
    const [a, b] = [await adapterOf(one, head), await adapterOf(two, head)];
    expect(await codeOf(() => sum(a, b))).toBe('DELTA_CONFLICT');
    expect(await codeOf(() => scale(a, 0.5))).toBe('DELTA_CONFLICT');
    const changes = await adapterOf(deltaOf({ 'head.weight': [denseTerm(tensorRef(f32([1], [1])))] }, [1]));
    expect(await codeOf(() => sum(a, changes))).toBe('DELTA_CONFLICT');
    expect(sum(a, await adapterOf(two)).replaced).toEqual(a.replaced);
  });

  it('adds kinds of other packages on one parameter where they are given', async () => {
    const far = defineKind({ ...dense, kind: 'far' });
    const term = { ...denseTerm(tensorRef(normal('far', shape))), kind: 'far' };
    const [a, b] = [deltaOf({ 'm.weight': [term] }, shape), deltaOf({ 'n.weight': [term] }, shape)];
    for (const parts of [
      [a, one],
      [one, a],
      [a, a],
    ] as const)
      await expect((async () => sum(...parts))()).rejects.toMatchObject({
        code: 'DELTA_CONFLICT',
        message: expect.stringContaining('"m.weight" is changed by several, and by one with kind far'),
      });
    expect(sum(a, one, { kinds: withKinds(far) }).params.get('m.weight')).toHaveLength(2);
    expect(sum(a, b).params.size).toBe(2);
  });

  it('refuses bases that differ and says what a derived adapter is made of', async () => {
    const a = { ...(await adapterOf(one)), base: { digest: 'sha256:1' } };
    const b = { ...(await adapterOf(two)), base: { digest: 'sha256:2' } };
    expect(await codeOf(() => sum(a, b))).toBe('ADAPTER_MISMATCH');
    const made = sum(a, scale({ ...b, base: a.base }, 0.5));
    expect(made.digest).toBe(`sum(${a.digest},scale(${b.digest},0.5))`);
    expect(made.base).toEqual(a.base);
  });
});

describe('merging', () => {
  const path = 'm.weight';
  const delta = deltaOf({ [path]: [term('d', [6, 5], 2, 0.7)] }, [6, 5]);

  it.each(['f32', 'f16', 'bf16'] as const)('adds in float32 and rounds once to %s', async (dtype) => {
    const base = tensorRef(cast(normal('base', [6, 5]), dtype));
    const merged = await applyDelta(new Map([[path, base]]), delta)
      .get(path)!
      .read();
    const w = toF32(await base.read()).data;
    const d = toF32(await lowRank.dense(delta.params.get(path)![0]!, [6, 5])).data;
    const expected = cast(
      f32(
        [6, 5],
        w.map((x, i) => x + d[i]!),
      ),
      dtype,
    );
    expect(merged).toEqual(expected);
  });

  it('gives rows of a merged parameter', async () => {
    const merged = applyDelta(new Map([[path, tensorRef(normal('base', [6, 5]))]]), delta).get(path)!;
    const whole = await merged.read();
    const part = await merged.read({ from: 2, to: 4 });
    expect(part.shape).toEqual([2, 5]);
    expect(part.data).toEqual(whole.data.slice(10, 20));
  });

  it('leaves other parameters alone and takes back to the bit', async () => {
    const parameters = new Map([
      [path, tensorRef(cast(normal('base', [6, 5]), 'bf16'))],
      ['other.weight', tensorRef(normal('other', [2]))],
      ['head.weight', tensorRef(normal('head', [2]))],
    ]);
    const adapter = await adapterOf(delta, { 'head.weight': tensorRef(cast(f32([2], [1, 2]), 'f16')) });
    const merged = applyAdapter(parameters, adapter);
    expect([...merged.pristine.keys()]).toEqual([path, 'head.weight']);
    expect(merged.parameters.get('other.weight')).toBe(parameters.get('other.weight'));
    expect(await merged.parameters.get('head.weight')!.read()).toEqual(f32([2], [1, 2]));
    expect(unapply(merged)).toEqual(parameters);
    for (const [name, ref] of unapply(merged)) expect(ref).toBe(parameters.get(name));
  });

  it('lists everything that does not fit', async () => {
    const parameters = new Map([[path, tensorRef(normal('b', [5, 6]))]]);
    try {
      applyDelta(parameters, sum(delta, deltaOf({ 'gone.weight': [term('g', [6, 5], 1, 1)] }, [6, 5])));
      expect.unreachable();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('ADAPTER_MISMATCH');
      expect((error as Error).message).toContain('gone.weight');
      expect((error as Error).message).toContain('[5,6]');
    }
  });
});

describe('kinds and identity', () => {
  const halving = defineKind({ ...dense, kind: 'halving', dense: async (t, s) => dense.dense(dense.scale(t, 0.5), s) });

  it('come from outside as a value', async () => {
    const mine = { ...denseTerm(tensorRef(f32([2], [2, 4]))), kind: 'halving' };
    const base = new Map([['w', tensorRef(f32([2], [1, 1]))]]);
    const delta = deltaOf({ w: [mine] }, [2]);
    expect(await codeOf(() => applyDelta(base, delta))).toBe('CONFIG_UNSUPPORTED');
    expect(
      (
        await applyDelta(base, delta, { kinds: withKinds(halving) })
          .get('w')!
          .read()
      ).data,
    ).toEqual(Float32Array.of(2, 3));
    expect(builtinKinds.has('halving')).toBe(false);
  });

  it('must carry the mark of this contract', async () => {
    expect(await codeOf(() => withKinds({ ...dense, kind: 'unmarked' }))).toBe('PLUGIN_INCOMPATIBLE');
  });

  it('identify content, not order or place', async () => {
    const [x, y] = [term('x', [2, 2], 1, 1), term('y', [2, 2], 1, 1)];
    const first = await contentDigest({ delta: deltaOf({ a: [x], b: [y] }, [2, 2]), replaced: new Map() });
    const again = await contentDigest({ delta: deltaOf({ b: [y], a: [x] }, [2, 2]), replaced: new Map() });
    const other = await contentDigest({
      delta: deltaOf({ a: [lowRank.scale(x, 2)], b: [y] }, [2, 2]),
      replaced: new Map(),
    });
    expect(first).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });
});
