import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { goldensPath } from '../../testkit/src/shared.js';
import { createRandom, philox, randomAlgorithm } from '../src/tensor/index.js';

interface KnownAnswer {
  readonly counter: readonly string[];
  readonly key: readonly string[];
  readonly output: readonly string[];
  readonly float: readonly number[];
}

const folder = goldensPath('methods', 'cases', 'philox');
const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(`${folder}/${name}`, 'utf8')) as T;
const seeds = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const word = (hex: string): number => Number.parseInt(hex, 16);

describe('Philox4x32-10', () => {
  it.skipIf(!folder)('gives the published answers (without them, set PEFTJS_GOLDENS)', async () => {
    const { philox4x32_10: answers } = await read<{ philox4x32_10: KnownAnswer[] }>('known-answers.json');
    expect(answers.length).toBeGreaterThan(10);
    for (const { counter, key, output, float } of answers) {
      const [c0, c1, c2, c3] = counter.map(word) as [number, number, number, number];
      const block = new Uint32Array(4);
      philox(c0, c1, c2, c3, word(key[0]!), word(key[1]!), block, 0);
      expect([...block]).toEqual(output.map(word));
      expect(Array.from(block, (u) => (u >>> 8) * 2 ** -24 * 2 - 1)).toEqual(float);
    }
  });

  it.skipIf(!folder)('gives the reference stream (without it, set PEFTJS_GOLDENS)', async () => {
    const { stream } = await read<{ stream: { first_64: number[] } }>('case.json');
    expect(createRandom(123).key).toEqual([123, 0]);
    expect([...createRandom(123).uniform([8, 8], -1, 1).data]).toEqual(stream.first_64);
  });
});

describe('a stream', () => {
  it('is a pure function of key and index, wherever reading begins', () => {
    fc.assert(
      fc.property(seeds, fc.nat(9000), fc.nat(40), (seed, from, count) => {
        const random = createRandom(seed);
        expect(random.bits(count, from)).toEqual(random.bits(from + count).subarray(from));
        const long = random.normal([from + count]).data;
        expect(random.normal([count]).data).toEqual(long.subarray(0, count));
      }),
      { numRuns: 20 },
    );
  });

  it('goes on beyond 2^32 blocks', () => {
    const block = new Uint32Array(4);
    philox(5, 1, 0, 0, 7, 0, block, 0);
    expect(createRandom(7).bits(2, (2 ** 32 + 5) * 4 + 1)).toEqual(block.subarray(1, 3));
  });

  it('never changes: a new algorithm needs a new name', () => {
    expect(randomAlgorithm).toBe('philox4x32-10/1');
    const random = createRandom(42n).fork('model.layers.0.self_attn.q_proj', 'a', 1);
    expect(random.key).toMatchInlineSnapshot(`
      [
        3413270104,
        4249339098,
      ]
    `);
    expect(new Uint32Array(random.normal([5], 0.5, 2).data.buffer)).toMatchInlineSnapshot(`
      Uint32Array [
        1068583580,
        1072730853,
        1082416012,
        1048752579,
        1065565362,
      ]
    `);
    expect([...random.permutation(8)]).toMatchInlineSnapshot(`
      [
        3,
        5,
        2,
        4,
        7,
        0,
        6,
        1,
      ]
    `);
  });

  it('refuses seeds and labels that are not exact', () => {
    for (const seed of [-1, 0.5, NaN, 2 ** 53, -1n, 2n ** 64n]) expect(() => createRandom(seed)).toThrow('The seed');
    expect(() => createRandom(1).fork(NaN)).toThrow('not by NaN');
    expect(() => createRandom(1).fork()).toThrow('forked by');
  });
});

describe('distributions', () => {
  const n = 200_000;

  it('is uniform on [low, high)', () => {
    const { data } = createRandom(1).uniform([n], -2, 6);
    const bins = new Array<number>(64).fill(0);
    for (const x of data as Float32Array) bins[Math.floor((x + 2) * 8)]! += 1;
    const chi2 = bins.reduce((sum, count) => sum + (count - n / 64) ** 2 / (n / 64), 0);
    expect(chi2).toBeLessThan(63 + 5 * Math.sqrt(2 * 63)); // five standard deviations of chi-square with 63 degrees
  });

  it('is standard normal, as Box and Muller have it', () => {
    const random = createRandom(2);
    const { data } = random.normal([n]);
    const bits = random.bits(n);
    let largest = 0;
    const moments = [0, 0, 0, 0];
    for (let i = 0; i < n; i += 2) {
      const radius = Math.sqrt(-2 * Math.log((bits[i]! + 1) / 2 ** 32));
      const angle = (2 * Math.PI * bits[i + 1]!) / 2 ** 32;
      largest = Math.max(largest, Math.abs(Number(data[i]) - radius * Math.cos(angle)));
      largest = Math.max(largest, Math.abs(Number(data[i + 1]) - radius * Math.sin(angle)));
      for (const k of [0, 1, 2, 3]) moments[k]! += (Number(data[i]) ** (k + 1) + Number(data[i + 1]) ** (k + 1)) / n;
    }
    expect(largest).toBeLessThan(5e-7); // half a float32 step at 5
    const fiveSigmas = [1, 2, 15, 96].map((variance) => 5 * Math.sqrt(variance / n)); // variances of x, x^2, x^3, x^4
    for (const [k, moment] of [0, 1, 0, 3].entries())
      expect(Math.abs(moments[k]! - moment)).toBeLessThan(fiveSigmas[k]!);
  });

  it('permutes: every order of three comes equally often', () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = createRandom(3).fork(i).permutation(3).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt(1000 * (5 / 6)));
    expect([...createRandom(3).permutation(1000)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 1000 }, (_, i) => i),
    );
    expect(createRandom(3).permutation(0)).toEqual(new Int32Array(0));
  });
});

describe('forks', () => {
  it('differ by every label, its type and its order, and from their parent', () => {
    const random = createRandom(5);
    const forks = [
      ['a'],
      ['b'],
      ['a', 'b'],
      ['b', 'a'],
      ['ab'],
      [1],
      ['1'],
      [1, 1],
      [11],
      ['a'.repeat(12)],
      ['a'.repeat(24)],
    ];
    const keys = [random.key, random.fork('a').fork('b').key, ...forks.map((labels) => random.fork(...labels).key)];
    expect(new Set(keys.map(String)).size).toBe(keys.length);
    expect(random.fork('a', 1).key).toEqual(createRandom(5).fork('a', 1).key);
  });

  it('gives ten thousand layers ten thousand keys', () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => createRandom(0).fork(`layers.${i}`, 'a').key.join());
    expect(new Set(keys).size).toBe(10_000);
  });
});
