import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Adapter,
  bindMethod,
  blockTerm,
  f32,
  indexRef,
  type Look,
  readAdapter,
  sparseTerm,
  type Target,
  tensorRef,
  train,
  writeAdapter,
} from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type S2ftOptions, type S2ftSettings, s2ft } from '../src/index.js';
import { savedBlock } from '../src/saved.js';
import { choose } from '../src/select.js';
import { spread, unitsOf } from '../src/units.js';

const attention = (role: Target['role'], path: string): Target => ({
  kind: 'linear',
  path,
  in: role === 'output' ? 32 : 20,
  out: role === 'output' ? 20 : role === 'query' ? 32 : 16,
  parameters: {},
  role: role!,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
});

const ran = (options: S2ftOptions, more: { seed?: number; start?: Adapter } = {}) =>
  train(tinyModel(), {
    method: s2ft(options),
    data: tinyRows(),
    backend: referenceBackend(),
    lr: 0.02,
    steps: 2,
    batchSize: 12,
    ...more,
  });

/** A term of these entries of a parameter of this size, the indices ascending. */
const entries = (size: number, all: Readonly<Record<number, number>>) =>
  sparseTerm({
    indices: indexRef(Object.keys(all).map(Number), size),
    values: tensorRef(f32([Object.keys(all).length], Object.values(all))),
  });

const matrix = (kind: Target['kind'], role: Target['role'], [inside, out]: [number, number]): Target => ({
  kind,
  path: `a.${role}`,
  in: inside,
  out,
  role: role!,
  parameters: {
    weight: { dtype: 'f32', shape: kind === 'conv1d' ? [inside, out] : [out, inside], read: async () => f32([0], []) },
  },
});

describe('s2ft', () => {
  testMethod(s2ft, { config: { ratio: 0.4, roles: ['up', 'down'] } });
  testMethod(s2ft, { config: { ratio: 0.4, select: 'gradient', largest: true, roles: ['up', 'down'] } });
  testMethod(s2ft, { config: { ratio: 0.4, select: 'activation', targetModules: ['down'] } });
  testMethod(s2ft, { config: { channels: 3, select: 'weight', roles: ['up', 'down'], targetModules: ['up', 'down'] } });

  it('takes heads and channels for what they are, grouped queries and explicit head sizes included', () => {
    expect(unitsOf(attention('query', 'q'))).toEqual({ axis: 0, count: 4, width: 8 });
    expect(unitsOf(attention('key', 'k'))).toEqual({ axis: 0, count: 2, width: 8 });
    expect(unitsOf(attention('output', 'o'))).toEqual({ axis: 1, count: 4, width: 8 });
    expect(unitsOf({ ...attention('query', 'q'), role: 'query-key-value' })).toBeUndefined();
    expect(spread([2, 0], { axis: 0, count: 4, width: 2 })).toEqual([0, 1, 4, 5]);
  });

  it('chooses over all targets together, exactly k, the earlier among equals', () => {
    const scores = { a: [3, 1, 1], b: [1, 5, 0] };
    const candidates = Object.entries(scores).flatMap(([path, own]) =>
      own.map((score, unit) => ({ path, unit, score })),
    );
    expect([...choose(candidates, 3, false)]).toEqual([
      ['b', [2]],
      ['a', [1, 2]],
    ]);
    expect([...choose(candidates, 2, true)]).toEqual([
      ['b', [1]],
      ['a', [0]],
    ]);
  });

  it('scores by weights: the channels with the smallest sums', async () => {
    const up: Target = { kind: 'linear', path: 'up', in: 2, out: 3, parameters: {}, role: 'up' };
    const W = tensorRef({ dtype: 'f32', shape: [3, 2], data: Float32Array.of(1, -1, 5, 5, -0.1, 0.1) });
    const c = s2ft({ ratio: 0.4, select: 'weight', roles: ['up'] }).config as S2ftSettings;
    const look = { sites: [{ target: up, c }], rng: { fork: () => undefined }, weight: () => W.read() };
    const plan = await s2ft.method.plan!(look as unknown as Look<S2ftSettings>);
    expect([...plan.get('up')!.tensors!.indices!.data]).toEqual([2n]);
    expect(plan.get('up')!.c).toEqual({ channels: 1 });
  });

  it('refuses roles that nothing has, too many channels, and activations of what is written', async () => {
    const bind = (options: object) => bindMethod(s2ft({ roles: ['up'], ...options } as S2ftOptions), tinyModel());
    const alone = train(tinyModel(), {
      method: s2ft({ targetModules: ['mix'] }),
      data: tinyRows(),
      backend: referenceBackend(),
      lr: 1,
      steps: 1,
    });
    await expect(alone.result()).rejects.toThrow(/no target has one of the roles output, down; theirs are other/);
    expect(() => bind({ targetModules: ['up'], channels: 9 })).toThrow(/it has 8 rows, channels is 9/);
    expect(() => bind({ targetModules: ['up'], select: 'activation' })).toThrow(/choose another select/);
    expect(() => s2ft({ ratio: 2 })).toThrow(/ratio/);
  });

  it('goes on from an adapter with its channels, whatever the seed, also from the file that is written by default', async () => {
    const options: S2ftOptions = { ratio: 0.4, roles: ['up', 'down'] };
    const first = await ran(options).result();
    const folder = await mkdtemp(join(tmpdir(), 'peftjs-s2ft-'));
    try {
      expect((await writeAdapter(folder, first)).layout).toBe('SHIRA');
      const { parameters, targets } = tinyModel();
      const start = await readAdapter(folder, { base: { parameters, targets } });
      const [once, again] = await Promise.all([first, start].map((start) => ran(options, { seed: 9, start }).result()));
      expect(again!.digest).toBe(once!.digest);
      const chosenIn = async ({ delta }: Adapter) =>
        Promise.all([...delta.params.values()].map(async ([term]) => [...(await term!.tensors.indices!.read()).data]));
      expect(await chosenIn(again!)).toEqual(await chosenIn(first));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('finds rows, columns and heads in single entries, and leaves out what only fills up the file', async () => {
    const up = matrix('linear', 'up', [2, 3]);
    expect(await savedBlock(entries(6, { 0: 0, 1: 0, 4: 5, 5: 6 }), up)).toEqual({
      indices: [2],
      v: f32([1, 2], [5, 6]),
    });
    expect(await savedBlock(entries(6, { 1: 7, 3: 0, 5: 8 }), matrix('linear', 'down', [2, 3]))).toEqual({
      indices: [1],
      v: f32([3, 1], [7, 0, 8]),
    });
    expect(await savedBlock(entries(6, { 1: 7, 4: 8 }), matrix('conv1d', 'up', [2, 3]))).toEqual({
      indices: [1],
      v: f32([1, 2], [7, 8]),
    });
    const head = { ...matrix('linear', 'query', [1, 4]), heads: 2, headDim: 2 };
    expect(await savedBlock(entries(4, { 2: 0, 3: 1 }), head)).toEqual({ indices: [2, 3], v: f32([2, 1], [0, 1]) });
  });

  it('refuses updates that are not of whole channels, or of another base', async () => {
    const up = matrix('linear', 'up', [2, 3]);
    const refused = (found: Promise<unknown>, message: RegExp) =>
      expect(found).rejects.toMatchObject({ code: 'ADAPTER_MISMATCH', message: expect.stringMatching(message) });
    await refused(savedBlock(entries(6, { 0: 1, 2: 3, 3: 4 }), up), /has 3 of the 4 numbers in the rows.*stack\(/);
    await refused(savedBlock(entries(6, { 0: 0, 1: 0 }), up), /only zeros/);
    const wide = blockTerm({ indices: indexRef([7], 8), block: tensorRef(f32([1, 2], [1, 2])) }, { axis: 0 });
    await refused(savedBlock(wide, up), /index 7, the base ends before 3/);
    await refused(savedBlock({ ...wide, meta: { ...wide.meta, axis: 1 } }, up), /is of columns/);
  });

  it('refuses a ratio that takes nothing of a role', async () => {
    await expect(ran({ ratio: 0.1, roles: ['up', 'down'] }).result()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/0\.1 of 8 channels with the role up is none: raise it to 0\.125.*role down/s),
    });
  });

  it('looks at the data once, whatever number of targets and roles', async () => {
    const targets = [matrix('linear', 'up', [2, 3]), matrix('linear', 'down', [3, 2])];
    const c = s2ft({ channels: 1, select: 'gradient', roles: ['up', 'down'] }).config as S2ftSettings;
    let looks = 0;
    const look = {
      sites: targets.map((target) => ({ target, c })),
      rng: { fork: () => undefined },
      async *gradients() {
        looks++;
        yield new Map(targets.map(({ path, in: inside, out }) => [path, f32([out, inside], [1, 2, 3, 4, 5, 6])]));
      },
    };
    await s2ft.method.plan!(look as unknown as Look<S2ftSettings>);
    expect(looks).toBe(1);
  });
});
