import { createRandom } from '@peftjs/core';
import { describe, expect, it } from 'vitest';
import { keepAtRandom } from '../src/draws.js';

const rng = createRandom(7).fork('tensor');
const ones = (count: number) => new Float32Array(count).fill(1);

describe('elements kept at random', () => {
  it('are the same however a tensor is cut', () => {
    const whole = ones(1001);
    keepAtRandom(whole, 0.3, rng, 'a', 0);
    for (const piece of [1, 3, 4, 17, 500]) {
      const cut = ones(1001);
      for (let at = 0; at < cut.length; at += piece) keepAtRandom(cut.subarray(at, at + piece), 0.3, rng, 'a', at);
      expect(cut).toEqual(whole);
    }
  });

  it('are as many as the density says, also far below a byte', () => {
    const count = 400_000;
    for (const rho of [0.0008, 1 / 256, 0.3, 0.5, 0.999]) {
      const values = ones(count);
      keepAtRandom(values, rho, rng, 'a', 0);
      const kept = values.reduce((sum, x) => sum + x, 0);
      // Five standard deviations of a binomial count.
      expect(Math.abs(kept - count * rho)).toBeLessThan(5 * Math.sqrt(count * rho * (1 - rho)));
    }
  });

  it('are all at density 1 and differ by model', () => {
    const [all, a, b] = [ones(5000), ones(5000), ones(5000)];
    keepAtRandom(all, 1, rng, 'a', 0);
    keepAtRandom(a, 0.5, rng, 'a', 0);
    keepAtRandom(b, 0.5, rng, 'b', 0);
    expect(all).toEqual(ones(5000));
    expect(a).not.toEqual(b);
  });
});
