import { bindMethod, type Look, type Target, tensorRef, train } from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel, tinyRows } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type S2ftOptions, type S2ftSettings, s2ft } from '../src/index.js';
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
});
