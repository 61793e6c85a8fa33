import {
  type Adapter,
  applyDelta,
  compress,
  type Delta,
  decompress,
  denseTerm,
  f32,
  isPeftError,
  packCompressed,
  readCompressed,
  scale,
  sum,
  tensorRef,
  toF32,
  withKinds,
} from '@peftjs/core';
import { memorySource } from '@peftjs/core/files';
import { compare } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import plugin, { compeft, readTernary, searchAlpha, survivors, ternary, ternaryLowRank } from '../src/index.js';
import { denseDelta, joined, mixedDelta, normal } from './support.js';

const codecs = [compeft];
const kinds = withKinds(ternary, ternaryLowRank);

const made = (options: Parameters<typeof compeft>[0], delta: Delta | Adapter) =>
  compress(compeft(options), delta).result();
const reread = (pieces: readonly Uint8Array[]) => readCompressed(memorySource(joined(pieces)), { codecs });
const codeOf = async (act: () => unknown) => {
  try {
    await act();
    return 'nothing thrown';
  } catch (error) {
    return isPeftError(error) ? error.code : error;
  }
};

async function denseOf(delta: Delta, path: string) {
  const zero = tensorRef(
    f32(delta.shape.get(path)!, new Float32Array(delta.shape.get(path)!.reduce((n, d) => n * d, 1))),
  );
  const one = { shape: delta.shape, params: new Map([[path, delta.params.get(path)!]]) };
  return applyDelta(new Map([[path, zero]]), one, { kinds })
    .get(path)!
    .read();
}

describe('compeft', () => {
  it('is listed by its package', () => {
    expect(plugin.codecs).toEqual([compeft]);
    expect(plugin.kinds!.map(({ kind }) => kind)).toEqual(['ternary', 'ternary-low-rank']);
  });

  it.each(['global', 'factor', 'tensor'] as const)('reads back exactly what it wrote, scope %s', async (scope) => {
    for (const density of [0.02, 0.3, 1]) {
      const { adapter, pieces, bytes, ratio, density: kept } = await made({ density, scope, alpha: 2 }, mixedDelta());
      const back = await reread(pieces);
      expect(back.adapter.digest).toBe(adapter.digest);
      expect([back.bytes, back.ratio, back.density, back.codec]).toEqual([bytes, ratio, kept, 'compeft']);
      for (const path of adapter.delta.params.keys()) {
        const [a, b] = [await denseOf(adapter.delta, path), await denseOf(back.adapter.delta, path)];
        expect(b).toEqual(a);
        expect(back.adapter.delta.params.get(path)!.flatMap((t) => kinds.get(t.kind)!.problems(t, a.shape))).toEqual(
          [],
        );
      }
    }
  });

  it('gives the same update in kinds of core', async () => {
    const file = await made({ density: 0.3, scope: 'factor' }, mixedDelta());
    const plain = await decompress(file, { codecs });
    expect(new Set([...plain.delta.params.values()].flat().map(({ kind }) => kind))).toEqual(
      new Set(['low-rank', 'dense']),
    );
    for (const path of plain.delta.params.keys())
      expect(await denseOf(plain.delta, path)).toEqual(await denseOf(file.adapter.delta, path));
  });

  it('depends neither on the order of parameters nor on the run', async () => {
    const delta = mixedDelta();
    const reversed = { shape: delta.shape, params: new Map([...delta.params].reverse()) };
    const [first, second] = await Promise.all([made({ density: 0.1 }, delta), made({ density: 0.1 }, reversed)]);
    expect(joined(second.pieces)).toEqual(joined(first.pieces));
    expect(joined((await made({ density: 0.1 }, delta)).pieces)).toEqual(joined(first.pieces));
  });

  it('keeps exactly k, with ties to the lower index', async () => {
    const equal = denseTerm(tensorRef(f32([10], [1, -1, 1, 1, -1, 1, 0.5, 1, 1, -1])));
    const delta = { shape: new Map([['w', [10]]]), params: new Map([['w', [equal]]]) };
    const { adapter } = await made({ density: 0.45 }, delta);
    expect(Array.from(toF32(await denseOf(adapter.delta, 'w')).data, Math.sign)).toEqual([
      1, -1, 1, 1, 0, 0, 0, 0, 0, 0,
    ]);
    const official = await made({ density: 0.45, rule: 'official' }, delta);
    expect(survivors((await readTernary(official.adapter.delta.params.get('w')![0]!, [10])).t)).toBe(9);
  });

  it('is 47 times smaller than float16 at a density of 5 %', async () => {
    const shapes = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`layers.${i}.weight`, [512, 512]]));
    const { ratio, density, bytes } = await made({ density: 0.05 }, denseDelta(shapes));
    expect(density).toBeCloseTo(0.05, 5);
    expect(ratio).toBeGreaterThan(47);
    const entropy = ((2 * 8 * 512 * 512) / 16) * 0.3363969571159562; // bits a parameter, in bytes
    expect(bytes / entropy).toBeLessThan(1.02);
  }, 60_000);

  it('compresses ternary updates, their sums and their multiples', async () => {
    const { adapter } = await made({ density: 0.2 }, mixedDelta());
    const twice = scale(sum(adapter.delta, adapter.delta, { kinds }), -0.75, kinds);
    const packed = await packCompressed(compeft.codec, { delta: twice, replaced: new Map(), digest: '' });
    const back = await reread(packed.pieces);
    for (const path of twice.params.keys())
      expect(await denseOf(back.adapter.delta, path)).toEqual(await denseOf(twice, path));
    const again = await compress(compeft({ density: 0.1 }), twice, { kinds }).result();
    expect(again.density).toBeLessThan(0.11);
  });

  it('keeps replaced parameters and what else an adapter says', async () => {
    const head = f32([2, 3], [1, 2, 3, 4, 5, 6]);
    const adapter: Adapter = {
      delta: denseDelta({ w: [20, 20] }),
      replaced: new Map([['head.weight', tensorRef(head)]]),
      digest: '',
      base: { name: 'base' },
      method: { name: 'lora', config: { r: 2, targetModules: ['q'] } },
      task: { name: 'sequence-classification', labels: ['a', 'b'] },
      on: ['sha256:1'],
      peft: { peft_type: 'LORA', r: 2, revision: null },
    };
    const { adapter: back } = await reread((await made({ density: 0.1 }, adapter)).pieces);
    expect(await back.replaced.get('head.weight')!.read()).toEqual(head);
    const { base, method, task, on, peft } = back;
    expect({ base, task, method, on, peft }).toEqual({
      base: adapter.base,
      task: adapter.task,
      method: adapter.method,
      on: adapter.on,
      peft: { peft_type: 'LORA', r: 2 },
    });
  });

  it('serves its factors and adds to weights', async () => {
    const { adapter } = await made({ density: 0.4, scope: 'factor' }, mixedDelta());
    const [term] = adapter.delta.params.get('a.weight')!;
    const { a, b, rank } = await ternaryLowRank.slots!(term!, [31, 20]);
    expect([a.shape, b.shape, rank]).toEqual([[31, 3], [3, 20], 3]);
    const product = new Float32Array(31 * 20);
    for (let i = 0; i < 31; i++)
      for (let o = 0; o < 20; o++)
        for (let k = 0; k < 3; k++)
          product[i * 20 + o]! += (a.data[i * 3 + k] as number) * (b.data[k * 20 + o] as number);
    // Products of three floats, in another order.
    expect(compare(f32([31, 20], product), await denseOf(adapter.delta, 'a.weight'), { relToMax: 1e-6 }).close).toBe(
      true,
    );
    expect(ternary.bytes(adapter.delta.params.get('m.weight')![0]!)).toBe(2 * 4 * 5);
  });

  it('refuses what it cannot do, by name', async () => {
    const bad = {
      shape: new Map([['w', [2]]]),
      params: new Map([['w', [denseTerm(tensorRef(f32([2], [1, Number.NaN])))]]]),
    };
    expect(await codeOf(() => made({}, bad))).toBe('ADAPTER_INVALID');
    expect(await codeOf(() => compeft({ density: 0 }))).toBe('CONFIG_INVALID');
    expect(await codeOf(() => compeft({ densty: 0.1 } as never))).toBe('CONFIG_INVALID');
    const plain = { delta: mixedDelta(), replaced: new Map(), digest: '' };
    expect(await codeOf(() => packCompressed(compeft.codec, plain))).toBe('DELTA_CONFLICT');
    const { pieces } = await made({}, denseDelta({ w: [4, 40] }));
    expect(await codeOf(() => readCompressed(memorySource(joined(pieces)), { codecs: [] }))).toBe('CONFIG_UNSUPPORTED');
  });

  it('warns when a group vanishes, and stops when it is told to', async () => {
    const warnings: string[] = [];
    const run = compress(compeft({ scope: 'tensor', density: 0.05 }), denseDelta({ small: [3], big: [40, 40] }));
    for await (const event of run) if (event.type === 'warning') warnings.push(event.message);
    expect(warnings).toEqual([expect.stringContaining('small')]);
    const controller = new AbortController();
    controller.abort();
    const stopped = compress(compeft(), mixedDelta(), { signal: controller.signal });
    await expect(stopped.result()).rejects.toThrow();
  });

  it('finds alpha by a score', async () => {
    const w = normal('target', [40, 40]);
    const delta = { shape: new Map([['w', [40, 40]]]), params: new Map([['w', [denseTerm(tensorRef(w))]]]) };
    const distance = async (adapter: Adapter) => {
      const y = toF32(await denseOf(adapter.delta, 'w')).data;
      return -y.reduce((s, v, i) => s + (v - Number(w.data[i])) ** 2, 0);
    };
    const { alpha, scores, compressed } = await searchAlpha(delta, distance, { density: 0.1 }).result();
    // Of the largest tenth of normal numbers the mean magnitude is 2.06 standard deviations.
    expect(alpha).toBe(2);
    expect(scores).toHaveLength(9);
    const [term] = compressed.adapter.delta.params.get('w')!;
    const mean = await made({ density: 0.1, magnitude: 'mean' }, delta);
    const best = Number(mean.adapter.delta.params.get('w')![0]!.meta.scale);
    expect(Math.abs(Number(term!.meta.scale) / best - 1)).toBeLessThan(0.06);
    expect(await distance(mean.adapter)).toBeGreaterThan(await distance(compressed.adapter));
    await expect(searchAlpha(delta, async () => Number.NaN, { alphas: [1] }).result()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});
