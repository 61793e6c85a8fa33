import { describe, expect, it } from 'vitest';
import { mersenneTwister, torchUniform } from '../src/tensor/index.js';

describe('the Mersenne twister', () => {
  it("gives its authors' words: the 1st and the 10000th of seed 5489", () => {
    const next = mersenneTwister(5489);
    const words = Array.from({ length: 10000 }, next);
    expect([words[0], words[9999]]).toEqual([3499211612, 4123659995]);
  });

  it('takes the low 32 bits of a seed', () => {
    expect(mersenneTwister(2 ** 40 + 5)()).toBe(mersenneTwister(5)());
    expect(mersenneTwister(-1)()).toBe(mersenneTwister(2 ** 32 - 1)());
  });

  it("gives PyTorch's uniform_(-0.3, 0.3) to the bit", () => {
    const { data } = torchUniform(mersenneTwister(5), [4], 0.3);
    expect([...data]).toEqual([0.1981511265039444, -0.22433346509933472, 0.24448181688785553, 0.19195623695850372]);
    const many = torchUniform(mersenneTwister(12345), [3, 700], 0.3).data as Float32Array;
    expect(many.reduce((sum, x) => sum + x, 0)).toBe(-12.602346316969488);
  });
});
