import { baseLook, bindMethod, f32, settlePlan, startTensors, type Term } from '@peftjs/core';
import { testMethod, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { SparseMezoConfig, sparseMezo } from '../src/index.js';
import { masked, maskOf, thresholdOf } from '../src/math.js';

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
    const [w, d] = [vector(-0.5, 0.5, 1.5, -1.5), vector(0, 1, -1, 0)];
    expect([...maskOf(w, d, 1)]).toEqual([1, 0, 1, 0]);
  });

  it('draws a direction for the numbers that it trains, and for no others', () => {
    const drawn: unknown[] = [];
    const normal = (shape: readonly number[]) => {
      drawn.push(shape);
      return vector(5, 6);
    };
    expect(masked(Uint8Array.of(1, 0, 1, 0), [2, 2], { normal })).toEqual(f32([2, 2], [5, 0, 6, 0]));
    expect(drawn).toEqual([[2]]);
  });

  it('saves few changes with their places and many in full, and goes on from both', async () => {
    const [target] = tinyModel().targets.filter(({ path }) => path.endsWith('mix'));
    const shape = target!.parameters.weight!.shape;
    const { fromDelta, toDelta } = sparseMezo.method;
    for (const [step, kind] of [
      [3, 'sparse'],
      [2, 'dense'],
    ] as const) {
      const d = f32(
        shape,
        Float32Array.from({ length: shape[0]! * shape[1]! }, (_, i) => (i % step ? 0 : i + 1)),
      );
      const site = { target: target!, c: SparseMezoConfig.parse({}) };
      const { weight } = (await toDelta({ ...site, p: { d }, weight: async () => d })) as { weight: Term };
      expect(weight.kind).toBe(kind);
      expect(await fromDelta!({ ...site, terms: { weight }, fresh: {} })).toEqual({ d });
    }
  });

  it.each([
    [{ sparsity: 0.01 }, /up": sparsity 0.01 of its 48 numbers is none/],
    [{ threshold: 1e-9 }, /up": none of its numbers is within the threshold 1e-9/],
  ])('refuses %j, which trains nothing', async (options, message) => {
    const model = tinyModel();
    const plan = bindMethod(sparseMezo({ ...options, targetModules: ['up'] }), model);
    const look = baseLook({ plan, parameters: model.parameters, seed: 0 });
    await expect(settlePlan(plan, look)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(message),
    });
  });

  it('refuses parts and distances that mean nothing, all at once, and a start without a plan', async () => {
    expect(() => sparseMezo({ epsilon: 0, sparsity: 2, threshold: -1 })).toThrow(/epsilon.*sparsity.*threshold/s);
    const model = tinyModel();
    const plan = bindMethod(sparseMezo(), model);
    await expect(startTensors(plan, { seed: 0, parameters: model.parameters })).rejects.toThrow(/plan it first/);
    expect(() => bindMethod(sparseMezo({ dropout: 0.1 }), model)).toThrow(/dropout has no place/);
  });
});
