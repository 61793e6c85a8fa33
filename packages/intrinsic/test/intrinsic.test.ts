import { bindMethod, startTensors } from '@peftjs/core';
import { testMethod, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { intrinsic } from '../src/index.js';
import { project, pullBack } from '../src/math.js';

describe('intrinsic', () => {
  const training = { lr: 0.2 };
  testMethod(intrinsic, { config: { dimension: 10 }, training });
  testMethod(intrinsic, { config: { dimension: 40, structureAware: true, targetModules: ['up', 'mix'] }, training });

  it('has signs for entries, the same at every call, and columns that are nearly orthogonal', () => {
    const n = 5000;
    const unit = (j: number) => Float32Array.from({ length: 70 }, (_, i) => (i === j ? 1 : 0));
    const [a, b] = [project(7n, n, unit(3)), project(7n, n, unit(69))];
    expect(new Set(a)).toEqual(new Set([1, -1]));
    expect(project(7n, n, unit(3))).toEqual(a);
    expect(project(8n, n, unit(3))).not.toEqual(a);
    // Five standard deviations of the mean of n signs.
    expect(Math.abs(a.reduce((sum, x, i) => sum + x * b[i]!, 0)) / n).toBeLessThan(5 / Math.sqrt(n));
  });

  it('pulls back by the transpose: ⟨P d, g⟩ = ⟨d, Pᵀ g⟩', () => {
    const wave = (n: number, f: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(f * i + 1));
    const [d, g] = [wave(37, 0.7), wave(5000, 0.3)];
    const left = project(3n, g.length, d).reduce((sum, x, i) => sum + x * g[i]!, 0);
    const right = pullBack(3n, g, d.length).reduce((sum, x, i) => sum + x * d[i]!, 0);
    expect(right).toBeCloseTo(left, 8);
  });

  it('refuses a dimension that is none, or more than there is', async () => {
    expect(() => intrinsic({ dimension: 0 })).toThrow(/dimension/);
    const model = tinyModel();
    const plan = bindMethod(intrinsic({ dimension: 49, targetModules: ['up'] }), model);
    await expect(startTensors(plan, { seed: 0, parameters: model.parameters })).rejects.toThrow(/have 48 numbers/);
  });
});
