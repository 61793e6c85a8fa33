import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  bindMethod,
  denseTerm,
  f32,
  largest,
  maskTerm,
  matrix,
  packMask,
  readAdapter,
  type Target,
  type Tensor,
  type Term,
  tensorRef,
  train,
  writeAdapter,
} from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { decompose, roundsTo } from '../src/decompose.js';
import {
  type DseeOptions,
  type DseeSettings,
  dsee,
  inferenceFlops,
  linearFlops,
  pruningScores,
  weakest,
} from '../src/index.js';
import { masksOf } from '../src/masks.js';
import { supportOf } from '../src/support.js';

const roles: DseeSettings['roles'] = ['up', 'down', 'other'];
const settings = (options: DseeOptions = {}) => dsee(options).config as DseeSettings;
const rng = { fork: () => rng, normal: noise, uniform: noise } as never;

/** Numbers without a pattern in [-1, 1). */
function noise(shape: readonly number[]): Tensor {
  const size = shape.reduce((p, d) => p * d, 1);
  return f32(
    shape,
    Float32Array.from({ length: size }, (_, i) => ((Math.imul(i + 1, 2654435761) >>> 8) % 2000) / 1000 - 1),
  );
}

/** Trains on the tiny model; the adapter and what was said on the way. */
async function trained(options: DseeOptions, more: { start?: Adapter; steps?: number } = {}) {
  const run = train(tinyModel(), {
    method: dsee({ r: 2, entries: 5, roles, targetModules: ['up', 'down', 'mix'], ...options }),
    data: tinyRows(),
    backend: referenceBackend(),
    lr: 0.01,
    steps: 4,
    batchSize: 4,
    ...more,
  });
  const notes: string[] = [];
  for await (const event of run) if (event.type === 'step' && event.note) notes.push(event.note);
  return { adapter: await run.result(), notes };
}

describe('dsee', () => {
  testMethod(dsee, { config: { r: 2, alpha: 4, entries: 5, roles } });
  testMethod(dsee, {
    config: { r: 2, entries: 5, roles: ['up'], scope: 'local', importance: 'WABS', support: 'random' },
  });
  testMethod(dsee, {
    config: { r: 3, entries: 9, roles, ratio: 0, updatedRatio: 0, support: 'magnitude', dropout: 0.1 },
  });

  it('finds what was added to a low-rank matrix', () => {
    const [m, n] = [24, 20];
    const spikes = [7, 130, 341];
    const left = noise([m]).data;
    const right = noise([n]).data;
    const data = Float64Array.from({ length: m * n }, (_, i) => {
      const low = Number(left[Math.floor(i / n)]) * Number(right[i % n]);
      return low + (spikes.includes(i) ? 3 : 0);
    });
    const v = matrix(1, n, noise([n]).data as Float32Array);
    const { residual, sparse, rank } = decompose(matrix(m, n, data), { v, threshold: 1, rounds: 1 });
    expect(rank).toBe(1);
    const size = { length: m * n, at: (i: number) => Math.abs(residual.data[i]!) };
    expect(largest([size], 3)).toEqual([spikes]);
    expect([...sparse.data].filter((x) => x !== 0)).toHaveLength(3);
  });

  it('chooses exactly N entries of matrices smaller than the rank of the released search, and of zeros', () => {
    expect(roundsTo(496)).toBe(100);
    for (const support of ['decomposition', 'magnitude', 'random'] as const) {
      const c = settings({ entries: 16, support, supportRank: 496 });
      for (const W of [noise([48, 40]), f32([8, 8], new Float32Array(64))])
        expect(new Set(supportOf(W, c, rng))).toHaveLength(16);
    }
  });

  it('cuts weights with an update by its importance, the others by their size', async () => {
    const one = { in: 2, out: 2, parameters: {} };
    const up = { ...one, kind: 'linear' as const, path: 'up', role: 'up' as const };
    const other = { ...one, kind: 'conv1d' as const, path: 'other', role: 'other' as const };
    const i64 = (values: bigint[]): Tensor => ({
      dtype: 'i64',
      shape: [values.length],
      data: BigInt64Array.from(values),
    });
    // ΔW = s (U V + S₂) = 2 [[1, 2], [0, 0]] + 2 [[0, 0], [0, 4]]
    const p = {
      u: f32([2, 1], [1, 0]),
      v: f32([1, 2], [1, 2]),
      s2: f32([1], [4]),
      rows: i64([1n]),
      columns: i64([1n]),
    };
    const weights: Readonly<Record<string, Tensor>> = {
      'up.weight': f32([2, 2], [-1, -4, 0.5, 1]),
      'other.weight': f32([2, 2], [1, -0.1, 3, 0.2]),
    };
    const cuts = async (options: DseeOptions) => {
      const c = settings({ r: 1, alpha: 2, entries: 1, roles: ['up'], ratio: 0.5, updatedRatio: 0.5, ...options });
      const masks = await masksOf({
        sites: [{ target: up, c, p }],
        targets: [
          { target: up, c },
          { target: other, c },
        ],
        rng,
        weight: async (path) => weights[path]!,
      });
      return [...masks].map(([path, { data }]) => `${path} ${[...data].join('')}`);
    };
    // |ΔW| is 2, 4, 0, 8; |W + ΔW| 1, 0, 0.5, 9; |W + U V + s S₂| 0, 2, 0.5, 9; |W| 1, 4, 0.5, 1
    expect(await cuts({})).toEqual(['up 0101', 'other 1010']);
    expect(await cuts({ importance: 'WABS' })).toEqual(['up 1001', 'other 1010']);
    expect(await cuts({ importance: 'WABS-released' })).toEqual(['up 0101', 'other 1010']);
    expect(await cuts({ importance: 'W' })).toEqual(['up 0101', 'other 1010']);
    expect(await cuts({ scope: 'local', ratio: 0.25 })).toEqual(['up 0101', 'other 1011']);
    expect(await cuts({ ratio: 0 })).toEqual(['up 0101']);
    expect(await cuts({ updatedRatio: 0 })).toEqual(['other 1010']);
  });

  it('counts operations: what S1 keeps, and the updates beside it', async () => {
    const c = settings({ r: 2, entries: 10, ratio: 0.5, updatedRatio: 0.25 });
    const target = { kind: 'linear' as const, parameters: {}, in: 8, out: 4 };
    const sites = [
      { target: { ...target, path: 'q', role: 'query' as const }, c },
      { target: { ...target, path: 'o', role: 'output' as const }, c },
    ];
    expect(inferenceFlops(sites)).toEqual({ before: 128, after: 2 * (24 + 16) + 2 * 2 * 12 + 2 * 10 });
    const { notes } = await trained({ updatedRatio: 0.5 });
    expect(notes).toEqual([expect.stringMatching(/^S1 is made: .* \(\d+ %\)\.$/)]);
  });

  it('scores heads and channels by what the adapter adds to them, and by the base where it adds nothing', async () => {
    const attention = { kind: 'linear' as const, in: 2, parameters: {}, layer: 0, heads: 4, kvHeads: 2, headDim: 1 };
    const targets: Target[] = [
      { ...attention, path: 'q', role: 'query', out: 4 },
      { ...attention, path: 'v', role: 'value', out: 2 },
      { kind: 'linear', path: 'up', role: 'up', in: 2, out: 3, parameters: {}, layer: 0 },
      { kind: 'linear', path: 'down', role: 'down', in: 3, out: 2, parameters: {}, layer: 0 },
    ];
    const weights: Readonly<Record<string, Tensor>> = {
      q: f32([4, 2], new Float32Array(8)),
      v: f32([2, 2], new Float32Array(4)),
      up: f32([3, 2], [1, -1, 0, 0, 2, 0]),
      down: f32([2, 3], [1, 0, 0.5, 0, 0, 0.5]),
    };
    const parameters = new Map(targets.map(({ path }) => [`${path}.weight`, tensorRef(weights[path]!)]));
    const dense = (shape: number[], values: number[]) => [denseTerm(tensorRef(f32(shape, values)))];
    const params = new Map<string, readonly Term[]>([
      ['q.weight', [maskTerm(packMask([0, 1, 1, 1, 1, 1, 1, 1])), ...dense([4, 2], [1, 0, 0, -1, 0, 0, 0, 3])]],
      ['v.weight', dense([2, 2], [2, 2, 0, 0])],
    ]);
    const adapter: Adapter = { delta: { shape: new Map(), params }, replaced: new Map(), digest: '' };
    const scores = await pruningScores(adapter, { targets, parameters });
    expect([...scores]).toEqual([[0, { heads: [6, 3], channels: [3, 0, 3] }]]);
    expect([...weakest(scores, { heads: 1, channels: 0.67 })]).toEqual([[0, { heads: [1], channels: [0, 1] }]]);
    expect([...weakest(scores, {})]).toEqual([[0, { heads: [], channels: [] }]]);
    expect(() => weakest(scores, { heads: 1.5, channels: -0.5 })).toThrow(/heads is 1.5.*channels is -0.5/s);
    expect(() => weakest(scores, { heads: -1, channels: 1 })).toThrow(/heads is -1.*channels is 1/s);
    const without = new Map([[0, { heads: [], channels: [1, 2] }]]);
    expect(() => weakest(without, { heads: 1 })).toThrow(/heads is 1, and no layer has heads of its own/);
    expect([...weakest(without, { channels: 0.5 })]).toEqual([[0, { heads: [], channels: [0] }]]);
    expect(linearFlops(targets, parameters)).toBe(2 * (8 + 4 + 6 + 6));
    const smaller = new Map(parameters).set('up.weight', tensorRef(f32([1, 2], [0, 0])));
    expect(linearFlops(targets, smaller)).toBe(2 * (8 + 4 + 2 + 6));
    await expect(pruningScores(adapter, { targets: [], parameters })).rejects.toThrow(/no layer of this model/);
  });

  it('saves the mask before what is added, and without a mask what PEFT loads', async () => {
    const { adapter } = await trained({ roles: ['up'] });
    const kinds = new Map([...adapter.delta.params].map(([path, terms]) => [path, terms.map(({ kind }) => kind)]));
    expect(kinds.get('model.layers.0.up.weight')).toEqual(['mask', 'low-rank', 'sparse']);
    expect(kinds.get('model.layers.0.down.weight')).toEqual(['mask']);

    const { adapter: plain } = await trained({ roles: ['up'], ratio: 0, updatedRatio: 0 });
    expect([...plain.delta.params.keys()]).toEqual(['model.layers.0.up.weight']);
    const folder = await mkdtemp(join(tmpdir(), 'peftjs-dsee-'));
    try {
      await expect(writeAdapter(folder, adapter, { layout: 'SUPERTUNING' })).rejects.toThrow(/mask/);
      await writeAdapter(folder, plain, { layout: 'SUPERTUNING' });
      const { parameters, targets } = tinyModel();
      const read = await readAdapter(folder, { base: { parameters, targets } });
      expect(read.delta.params.get('model.layers.0.up.weight')!.map(({ kind }) => kind)).toEqual([
        'low-rank',
        'sparse',
      ]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('leaves weights alone that lose nothing', async () => {
    const kinds = async (options: DseeOptions) => {
      const { delta } = (await trained({ roles: ['up'], ...options })).adapter;
      return Object.fromEntries([...delta.params].map(([path, terms]) => [path, terms.map(({ kind }) => kind)]));
    };
    expect(await kinds({ ratio: 0 })).toEqual({ 'model.layers.0.up.weight': ['mask', 'low-rank', 'sparse'] });
    expect(await kinds({ updatedRatio: 0 })).toEqual({
      'model.layers.0.up.weight': ['low-rank', 'sparse'],
      'model.layers.0.down.weight': ['mask'],
      'model.layers.1.mix.weight': ['mask'],
    });
  });

  it('refuses to rank entries by updates that did not move', async () => {
    await expect(trained({}, { steps: 1 })).rejects.toThrow(/no update of .*up.* moved before S1 is made/);
    expect((await trained({ importance: 'WABS' }, { steps: 1 })).notes).toHaveLength(1);
  });

  it('refuses roles that nothing has, impossible sizes, and going on from a saved adapter', async () => {
    const bind = (options: DseeOptions) =>
      bindMethod(dsee({ roles, targetModules: ['up', 'down'], r: 2, ...options }), tinyModel());
    await expect(trained({ roles: ['query'] })).rejects.toThrow(
      /no target has one of the roles query; theirs are up, down, other/,
    );
    expect(() => bind({ r: 7 })).toThrow(/its weight is 8 × 6, r is 7: take 6 at most/);
    expect(() => bind({ entries: 49 })).toThrow(/its weight has 48 entries, entries is 49/);
    expect(() => dsee({ ratio: 1, updatedRatio: -1 })).toThrow(/ratio.*updatedRatio/);
    const { adapter } = await trained({});
    await expect(trained({}, { start: adapter })).rejects.toThrow(/dsee cannot be trained on from a saved adapter/);
  });
});
