import { bindMethod, f32, startTensors } from '@peftjs/core';
import { testMethod, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { sparseMezo } from '../src/index.js';
import { masked, thresholdOf } from '../src/math.js';

const vector = (...values: number[]) => f32([values.length], Float32Array.from(values));

describe('sparse-mezo', () => {
  const training = { lr: 0.02, steps: 40 };
  testMethod(sparseMezo, { training });
  testMethod(sparseMezo, { config: { sparsity: 1, epsilon: 1e-2, weightDecay: 0.01 }, training });
  testMethod(sparseMezo, { config: { threshold: 0.3, targetModules: ['mix'] }, training });

  it('takes its defaults from the papers', () => {
    expect(sparseMezo().config).toMatchObject({ epsilon: 1e-3, sparsity: 0.75 });
  });

  it('puts the threshold between the largest number that is trained and the next', () => {
    const theta = vector(-4, 1, 3, -2);
    expect(thresholdOf(theta, 0.5)).toBe(2.5);
    expect(thresholdOf(theta, 0.25)).toBe(1.5);
    expect(thresholdOf(theta, 0.1)).toBe(0.5);
    expect(Math.fround(thresholdOf(theta, 1))).toBe(thresholdOf(theta, 1));
    expect(thresholdOf(theta, 1)).toBeGreaterThan(3e38);
  });

  it('moves what is small now, not what was small at the start', () => {
    const z = vector(1, 2, 3, 4);
    const [w, d] = [vector(-0.5, 0.5, 1.5, -1.5), vector(0, 1, -1, 0)];
    expect([...masked(z, w, d, 1).data]).toEqual([1, 0, 3, 0]);
  });

  it('refuses parts and distances that mean nothing, all at once, and a start without a plan', async () => {
    expect(() => sparseMezo({ epsilon: 0, sparsity: 2, threshold: -1 })).toThrow(/epsilon.*sparsity.*threshold/s);
    const model = tinyModel();
    const plan = bindMethod(sparseMezo(), model);
    await expect(startTensors(plan, { seed: 0, parameters: model.parameters })).rejects.toThrow(/plan it first/);
    expect(() => bindMethod(sparseMezo({ dropout: 0.1 }), model)).toThrow(/dropout has no place/);
  });
});
