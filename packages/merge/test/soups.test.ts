import { f32 } from '@peftjs/core';
import { expectPeftError } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { assign } from '../src/rebasin/assign.js';
import { chain, mergeBranches } from '../src/soups/branches.js';
import { slopesFromScores } from '../src/soups/differences.js';
import { greedySoup } from '../src/soups/greedy.js';
import { learnedSoup } from '../src/soups/learned.js';
import { sparseSoup } from '../src/soups/sparse.js';

describe('greedy soup', () => {
  const points = [1, 5, 3, 1];
  const mean = (ingredients: readonly number[]) =>
    ingredients.reduce((sum, i) => sum + points[i]! / ingredients.length, 0);
  const score = (ingredients: readonly number[]) => -Math.abs(mean(ingredients) - 2);
  const candidates = ['a', 'b', 'c', 'd'];

  it('tries each candidate once, from the best on', async () => {
    const { ingredients, steps, score: best } = await greedySoup({ candidates, score });
    // Scores -1, -3, -1, -1: of the equal ones the later first.
    expect(steps.map(({ candidate, accepted }) => [candidate, accepted])).toEqual([
      ['d', true],
      ['c', true],
      ['a', false],
      ['b', false],
    ]);
    expect([ingredients, best]).toEqual([[3, 2], -0]);
  });

  it('takes equal scores where told, and the earlier of equals first', async () => {
    const same = { candidates, score: () => 1, accept: 'gte', tieOrder: 'earlier' } as const;
    expect((await greedySoup(same)).ingredients).toEqual([0, 1, 2, 3]);
    expect((await greedySoup({ ...same, accept: 'gt' })).ingredients).toEqual([0]);
  });

  it('refuses scores that are no numbers', async () => {
    await expectPeftError(() => greedySoup({ candidates, score: () => Number.NaN }), ['CONFIG_INVALID'], ['a']);
  });
});

describe('learned soup', () => {
  it('finds the shares of a target, and its scale', async () => {
    // θ = Σ α_m m over models 0 and 4; the target is 3 with outputs doubled.
    const evaluate = (alpha: readonly Float64Array[], beta: number) => {
      const theta = 4 * alpha[0]![1]!;
      const [a, b] = [beta * theta - 6, theta - 3];
      return { loss: a * a + b * b, alpha: [[0, 8 * (a * beta + b)]], beta: 2 * a * theta };
    };
    const { alpha, beta, losses } = await learnedSoup({ tensors: 1, models: 2, evaluate, steps: 800 });
    expect(alpha[0]![1]).toBeCloseTo(0.75, 3);
    expect(beta).toBeCloseTo(2, 3);
    expect(losses.length).toBe(800);
  });
});

describe('sparse soup', () => {
  const model = (...values: number[]) => new Map([['w', f32([values.length], values)]]);

  it('keeps the mask, also where a kept weight is 0', () => {
    const merged = sparseSoup({ models: [model(2, 0, 9), model(4, 6, 0)], masks: [model(1, 1, 0)] });
    expect([...(merged.get('w')!.data as Float32Array)]).toEqual([3, 3, 0]);
  });

  it('refuses masks that differ, with the density of their union', async () => {
    const masks = [model(1, 0, 0, 0), model(0, 1, 0, 0)];
    const models = [model(1, 0, 0, 0), model(0, 1, 0, 0)];
    await expectPeftError(() => sparseSoup({ models, masks }), ['DELTA_CONFLICT'], ['"w"', '50.0 %']);
  });
});

describe('branches', () => {
  it('are merged in pairs up the tree', async () => {
    const join = (a: string, b: string) => `(${a} ${b})`;
    expect(await mergeBranches(chain(['a', 'b', 'c']), join)).toBe('((a b) c)');
    const tree = { left: chain(['a', 'b']), right: chain(['c', 'd']) };
    expect(await mergeBranches(tree, join)).toBe('((a b) (c d))');
  });
});

describe('assignment', () => {
  it('has the largest sum of all permutations', () => {
    const gains = Float64Array.of(4, 1, 3, 2, 0, 5, 3, 2, 2);
    expect([...assign(gains, 3)]).toEqual([0, 2, 1]);
    expect([...assign(Float64Array.of(-1, -5, -4, -9), 2)]).toEqual([1, 0]);
  });
});

describe('slopes from scores', () => {
  it('find the shares of whole models by scores alone', async () => {
    const wanted = [0.6, 0.3, 0.1];
    let asked = 0;
    const evaluate = slopesFromScores((alpha) => {
      asked++;
      expect(alpha.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 12);
      return -alpha.reduce((sum, share, i) => sum + (share - wanted[i]!) ** 2, 0);
    }, 0.01);
    const { alpha, losses, beta } = await learnedSoup({ tensors: 1, models: 3, steps: 150, beta: false, evaluate });
    expect(asked).toBe(150 * 4);
    expect(beta).toBe(1);
    expect(losses.at(-1)).toBeLessThan(1e-3);
    // Forward differences of length h are off by about h / 2 times the curvature.
    alpha[0]!.forEach((share, i) => {
      expect(Math.abs(share - wanted[i]!)).toBeLessThan(0.02);
    });
  });
});
