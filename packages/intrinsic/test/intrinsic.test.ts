import { baseLook, bindMethod, settlePlan, startTensors } from '@peftjs/core';
import { testMethod, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { intrinsic } from '../src/index.js';
import { heldSigns, project, pullBack, seededSigns, signWords } from '../src/math.js';

describe('intrinsic', () => {
  const training = { lr: 0.2 };
  testMethod(intrinsic, { config: { dimension: 10 }, training });
  testMethod(intrinsic, { config: { dimension: 10, cache: 0, targetModules: ['up', 'mix'] }, training });
  testMethod(intrinsic, { config: { dimension: 40, structureAware: true, targetModules: ['up', 'mix'] }, training });

  it('has signs for entries, the same at every call, and columns that are nearly orthogonal', () => {
    const n = 5000;
    const unit = (j: number) => Float32Array.from({ length: 70 }, (_, i) => (i === j ? 1 : 0));
    const signs = (seed: bigint) => seededSigns(seed, { numbers: n, dimension: 70 });
    const [a, b] = [project(signs(7n), unit(3)), project(signs(7n), unit(69))];
    expect(new Set(a)).toEqual(new Set([1, -1]));
    expect(project(signs(7n), unit(3))).toEqual(a);
    expect(project(signs(8n), unit(3))).not.toEqual(a);
    // Five standard deviations of the mean of n signs.
    expect(Math.abs(a.reduce((sum, x, i) => sum + x * b[i]!, 0)) / n).toBeLessThan(5 / Math.sqrt(n));
  });

  it('pulls back by the transpose: ⟨P d, g⟩ = ⟨d, Pᵀ g⟩', () => {
    const wave = (n: number, f: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(f * i + 1));
    const [d, g] = [wave(37, 0.7), wave(5000, 0.3)];
    const signs = seededSigns(3n, { numbers: g.length, dimension: d.length });
    const left = project(signs, d).reduce((sum, x, i) => sum + x * g[i]!, 0);
    const right = pullBack(signs, g).reduce((sum, x, i) => sum + x * d[i]!, 0);
    expect(right).toBeCloseTo(left, 8);
  });

  it('reads bit j mod 32 of word ⌊j / 32⌋ of a number as its sign in column j', () => {
    const extents = { numbers: 3, dimension: 37 };
    const words = Uint32Array.of(5, 1, 2 ** 31, 0, 2 ** 32 - 1, 16);
    const signs = heldSigns(words, extents);
    const sign = (i: number, j: number) => ((words[2 * i + (j >>> 5)]! >>> (j & 31)) & 1 ? 1 : -1);
    const d = Float32Array.from({ length: 37 }, (_, j) => j + 1);
    const g = Float32Array.of(1, 10, 100);
    expect([...project(signs, d)]).toEqual([0, 1, 2].map((i) => d.reduce((sum, x, j) => sum + sign(i, j) * x, 0)));
    expect([...pullBack(signs, g)]).toEqual([...d].map((_, j) => g.reduce((sum, x, i) => sum + sign(i, j) * x, 0)));
  });

  it('gives the same from signs in memory as from the seed', () => {
    const extents = { numbers: 5000, dimension: 70 };
    const held = heldSigns(signWords(9n, extents), extents);
    const d = Float32Array.from({ length: 70 }, (_, j) => Math.sin(j));
    expect(project(held, d)).toEqual(project(seededSigns(9n, extents), d));
  });

  it('keeps the signs of the first targets that fit in the cache', async () => {
    const model = tinyModel();
    // Each has 48 numbers with a word of signs each.
    const plan = bindMethod(intrinsic({ dimension: 4, cache: 300 / 2 ** 20, targetModules: ['up', 'down'] }), model);
    const settled = await settlePlan(plan, baseLook({ plan, parameters: model.parameters, seed: 0 }));
    const start = await startTensors(settled, { seed: 0, parameters: model.parameters });
    const held = [...start.frozen.keys()].filter((name) => name.endsWith(':signs'));
    expect(held).toEqual(['model.layers.0.up:signs']);
  });

  it('refuses a dimension that is none, or more than there is', async () => {
    expect(() => intrinsic({ dimension: 0 })).toThrow(/dimension/);
    const model = tinyModel();
    const plan = bindMethod(intrinsic({ dimension: 49, targetModules: ['up'] }), model);
    await expect(startTensors(plan, { seed: 0, parameters: model.parameters })).rejects.toThrow(/have 48 numbers/);
  });
});
