import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type Adapter,
  applyDelta,
  compact,
  contentDigest,
  createRandom,
  type Delta,
  denseTerm,
  isPeftError,
  keptRank,
  lowRankTerm,
  readAdapter,
  scale,
  sum,
  type Tensor,
  type Term,
  tensorRef,
  writeAdapter,
} from '../src/index.js';

const random = createRandom(11);
const normal = (name: string, shape: readonly number[]) => tensorRef(random.fork(name).normal(shape));

type Shape = readonly [number, number];

/** A low-rank update of a weight of this shape, however its factors lie. */
const term = (name: string, [rows, columns]: Shape, r: number, s: number, transposed = false): Term => {
  const [out, inside] = transposed ? [columns, rows] : [rows, columns];
  return lowRankTerm({ a: normal(`${name}a`, [r, inside]), b: normal(`${name}b`, [out, r]) }, { scale: s, transposed });
};

const deltaOf = (terms: readonly Term[], shape: readonly number[], path = 'q.weight'): Delta => ({
  shape: new Map([[path, shape]]),
  params: new Map([[path, terms]]),
});

/** ΔW of the one parameter there is. */
async function whole(delta: Delta): Promise<Tensor> {
  const [[path, shape]] = [...delta.shape] as [[string, readonly number[]]];
  const zero = tensorRef({ dtype: 'f64', shape, data: new Float64Array(shape.reduce((a, b) => a * b, 1)) });
  return applyDelta(new Map([[path, zero]]), delta)
    .get(path)!
    .read();
}

const norm = (x: ArrayLike<number>) => Math.sqrt(Array.from(x).reduce((total, v) => total + v * v, 0));

/** ‖got - want‖ / ‖want‖. */
async function distance(got: Delta, want: Delta): Promise<number> {
  const [x, y] = [await whole(got), await whole(want)] as (Tensor & { data: Float64Array })[];
  expect(x!.shape).toEqual(y!.shape);
  return norm(x!.data.map((v, i) => v - y!.data[i]!)) / (norm(y!.data) || 1);
}

const rankOf = (delta: Delta) => [...delta.params.values()].map(([t]) => t!.tensors.a?.shape[0]);

describe('compact without a rank or an energy', () => {
  it('puts low-rank terms into one, exactly, ranks added', async () => {
    const delta = deltaOf([term('x', [6, 5], 2, 0.5), term('y', [6, 5], 1, -2), term('z', [6, 5], 3, 1)], [6, 5]);
    const { delta: one, report } = await compact(delta);
    expect(rankOf(one)).toEqual([6]);
    expect([report.truncated.size, report.discarded]).toEqual([0, 0]);
    expect(await distance(one, delta)).toBeLessThan(3e-7); // a few roundings to float32
  });

  it('turns factors of a transposed weight round where the other terms orientation differently', async () => {
    for (const shape of [
      [4, 7],
      [5, 5],
    ] as const) {
      const delta = deltaOf([term('t', shape, 2, 2, true), term('p', shape, 3, 0.5)], shape);
      const { delta: one } = await compact(delta);
      expect(one.params.get('q.weight')![0]!.meta.transposed).toBe(true);
      expect(await distance(one, delta)).toBeLessThan(3e-7); // roundings to float32
    }
  });

  it('keeps single terms as they are, and sums dense ones', async () => {
    const single = deltaOf([term('x', [6, 5], 2, 0.5)], [6, 5]);
    expect((await compact(single)).delta.params.get('q.weight')).toEqual(single.params.get('q.weight'));
    const mixed = deltaOf(
      [denseTerm(normal('d', [6, 5])), term('x', [6, 5], 2, 1), denseTerm(normal('e', [6, 5]))],
      [6, 5],
    );
    const { delta: two } = await compact(mixed);
    expect(two.params.get('q.weight')!.map(({ kind }) => kind)).toEqual(['dense', 'low-rank']);
    expect(await distance(two, mixed)).toBeLessThan(3e-7); // roundings to float32
  });
});

describe('compact to a rank or an energy', () => {
  it('gives back one times the update when weights of the same update sum to one', async () => {
    const one = deltaOf([term('x', [9, 7], 4, 2)], [9, 7]);
    for (const weights of [
      [0.5, 0.5],
      [0.3, 0.6, 0.1],
      [2, -1],
    ]) {
      const many = sum(...weights.map((w) => scale(one, w)));
      expect(await distance((await compact(many)).delta, one)).toBeLessThan(3e-7); // roundings to float32
      const { delta, report } = await compact(many, { energy: 1 });
      expect(rankOf(delta)).toEqual([4]); // no more ranks than there are directions
      expect(report.discarded).toBeLessThan(1e-25);
      expect(await distance(delta, one)).toBeLessThan(3e-7); // roundings to float32
    }
  });

  it('finds from the factors what the dense sum has, at every rank, and reports what is lost', async () => {
    for (const transposed of [false, true])
      for (const shape of [
        [12, 9],
        [9, 12],
        [4, 4],
      ] as const) {
        const terms = ['x', 'y', 'z'].map((name, i) => term(`${name}${shape}`, shape, 2, 1 - i * 0.4, transposed));
        const delta = deltaOf(terms, shape);
        const full = deltaOf([denseTerm(tensorRef((await whole(delta)) as Tensor))], shape);
        for (const rank of [1, 2, 4]) {
          const low = await compact(delta, { rank });
          const dense = await compact(full, { rank });
          const { discarded } = low.report.truncated.get('q.weight')!;
          expect(Math.abs(dense.report.discarded - discarded)).toBeLessThan(1e-8); // the dense side was rounded to float32
          expect(await distance(low.delta, dense.delta)).toBeLessThan(1e-6); // roundings to float32 of either side
          // The distance is the square root of what was lost; float32 roundings blur it below 1e-6.
          expect(Math.abs((await distance(low.delta, delta)) - Math.sqrt(discarded))).toBeLessThan(1e-6);
          expect(rankOf(low.delta)[0]).toBeLessThanOrEqual(rank);
        }
      }
  });

  it('takes the smallest rank that holds the energy, and no more than the rank', async () => {
    const delta = deltaOf([term('x', [20, 15], 8, 1)], [20, 15]);
    let last = 0;
    for (const energy of [0.3, 0.6, 0.9, 0.999]) {
      const { delta: made, report } = await compact(delta, { energy });
      const rank = rankOf(made)[0]!;
      expect(report.discarded).toBeLessThanOrEqual(1 - energy);
      if (rank > 1) expect((await compact(delta, { rank: rank - 1 })).report.discarded).toBeGreaterThan(1 - energy);
      expect(rank).toBeGreaterThanOrEqual(last);
      last = rank;
    }
    expect(rankOf((await compact(delta, { energy: 0.999, rank: 2 })).delta)).toEqual([2]);
  });

  it('takes only the top of a large matrix, to a rank or an energy, and says the same loss as its distance', async () => {
    const shape = [600, 520] as const;
    const noise = scale(deltaOf([denseTerm(normal('noise', shape))], shape), 0.02);
    const delta = sum(deltaOf([term('signal', shape, 6, 1)], shape), noise);
    for (const truncation of [{ rank: 6 }, { energy: 0.99, rank: 20 }]) {
      const { delta: made, report } = await compact(delta, truncation);
      expect(rankOf(made)[0]).toBeLessThanOrEqual(6);
      expect(report.discarded).toBeLessThanOrEqual(1 - (truncation.energy ?? 0.99));
      expect(Math.abs((await distance(made, delta)) - Math.sqrt(report.discarded))).toBeLessThan(1e-6); // float32
    }
  });

  it('leaves alone what is small enough, and vectors', async () => {
    const delta = deltaOf([term('x', [6, 5], 2, 0.5)], [6, 5]);
    expect((await compact(delta, { rank: 2 })).delta.params.get('q.weight')).toEqual(delta.params.get('q.weight'));
    const vector = deltaOf([denseTerm(normal('v', [6]))], [6], 'norm.weight');
    expect((await compact(vector, { rank: 1 })).delta.params).toEqual(vector.params);
  });

  it('keeps a zero update at rank 1', async () => {
    const zero = deltaOf([scale(deltaOf([term('x', [6, 5], 2, 1)], [6, 5]), 0).params.get('q.weight')![0]!], [6, 5]);
    const { delta, report } = await compact(zero, { energy: 0.9 });
    expect([rankOf(delta), report.discarded]).toEqual([[1], 0]);
    expect(norm((await whole(delta)).data as Float64Array)).toBe(0);
  });

  it('holds for random sums: never worse than the energy asked for', async () => {
    const draw = random.fork('property').uniform([40, 5]).data as Float32Array;
    for (let i = 0; i < 40; i++) {
      const pick = (j: number, upTo: number) => 1 + Math.floor(draw[5 * i + j]! * upTo);
      const shape = [pick(0, 20), pick(1, 20)] as const;
      const terms = Array.from({ length: pick(2, 4) }, (_, t) =>
        term(`p${i}.${t}`, shape, pick(3, 5), draw[5 * i]! - 0.5, t % 2 === 1),
      );
      const energy = draw[5 * i + 4]! * 0.98 + 0.01;
      const delta = deltaOf(terms, shape);
      const { delta: made, report } = await compact(delta, { energy });
      expect(report.discarded).toBeLessThanOrEqual(1 - energy + 1e-12);
      expect(Math.abs((await distance(made, delta)) - Math.sqrt(report.discarded))).toBeLessThan(2e-6); // float32
    }
  });

  it('refuses ranks and energies that are none, all at once', async () => {
    const delta = deltaOf([term('x', [6, 5], 2, 0.5)], [6, 5]);
    try {
      await compact(delta, { rank: 0, energy: 1.5 });
      expect.unreachable();
    } catch (error) {
      expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
      for (const part of ['rank is 0', 'energy is 1.5']) expect(String(error)).toContain(part);
    }
  });
});

describe('keptRank', () => {
  it('counts no rounding of a decomposition as a rank', () => {
    expect(keptRank(Float64Array.of(3, 1, 1e-16), {})).toEqual({ rank: 2, discarded: 0 });
    expect(keptRank(Float64Array.of(2, 2, 2, 2), { energy: 0.5 })).toEqual({ rank: 2, discarded: 0.5 });
    expect(keptRank(Float64Array.of(2, 1), { rank: 1 }, 10)).toEqual({ rank: 1, discarded: 0.6 });
  });
});

describe('writeAdapter', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'peftjs-compact-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const adapterOf = async (delta: Delta): Promise<Adapter> => {
    const content = { delta, replaced: new Map() };
    return { ...content, digest: await contentDigest(content), method: { name: 'other', config: { r: 2 } } };
  };
  const dense = deltaOf([denseTerm(normal('d', [6, 5]))], [6, 5]);

  it('refuses a dense update where factors are asked for, and says what helps', async () => {
    const adapter = await adapterOf(dense);
    await expect(writeAdapter(join(folder, 'none'), adapter, { layout: 'LORA' })).rejects.toMatchObject({
      code: 'DELTA_CONFLICT',
      message: expect.stringContaining('give a rank or an energy'),
    });
  });

  it('writes it to a rank, reports what is lost, and the folder reads back', async () => {
    const path = join(folder, 'two');
    const { truncation } = await writeAdapter(path, await adapterOf(dense), { rank: 2 });
    const again = await readAdapter(path, { warn: (message) => expect.unreachable(message) });
    expect(rankOf(again.delta)).toEqual([2]);
    expect(truncation!.discarded).toBeGreaterThan(0);
    expect(Math.abs((await distance(again.delta, dense)) - Math.sqrt(truncation!.discarded))).toBeLessThan(1e-6); // float32
    expect(JSON.parse(await readFile(join(path, 'peftjs.json'), 'utf8'))).not.toHaveProperty('method');
  });

  it('writes factors of a transposed weight as PEFT has them, when the base says so', async () => {
    const path = join(folder, 'conv1d');
    const target = { kind: 'conv1d', path: 'q' } as never;
    await writeAdapter(path, await adapterOf(dense), { energy: 0.9, base: { targets: [target] } });
    expect(JSON.parse(await readFile(join(path, 'adapter_config.json'), 'utf8')).fan_in_fan_out).toBe(true);
    const again = await readAdapter(path);
    expect(again.delta.shape.get('q.weight')).toEqual([6, 5]);
    expect((await distance(again.delta, dense)) ** 2).toBeLessThanOrEqual(0.1);
  });

  it('writes a sum exactly by concatenation when nothing is asked', async () => {
    const two = sum(
      await adapterOf(deltaOf([term('x', [6, 5], 2, 1)], [6, 5])),
      await adapterOf(deltaOf([term('y', [6, 5], 3, 0.5)], [6, 5])),
    );
    expect(await writeAdapter(join(folder, 'sum'), two)).toEqual({ layout: 'LORA' });
    const again = await readAdapter(join(folder, 'sum'));
    expect(rankOf(again.delta)).toEqual([5]);
    expect(await distance(again.delta, two.delta)).toBeLessThan(3e-7); // roundings to float32
  });
});
