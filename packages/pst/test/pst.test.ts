import { bindMethod, createGraph, createOps, createRandom, f32 } from '@peftjs/core';
import { referenceBackend, testMethod, tinyModel } from '@peftjs/testkit';
import { describe, expect, it } from 'vitest';
import { type PstSettings, pst } from '../src/index.js';
import { keptAtEnd } from '../src/kept.js';
import { mask, prunedCount } from '../src/math.js';
import { sparsityAt } from '../src/schedule.js';

/** The mask of a graph for scores of one row. */
async function maskOf(values: readonly number[], sparsity: number): Promise<number[]> {
  const graph = createGraph('mask');
  const ops = createOps(graph);
  const score = ops.input('score', 'f32', [1, values.length]);
  ops.output(mask(score, ops.input('sparsity', 'f32', []), ops), 'mask');
  const program = await referenceBackend().compile(graph);
  const feeds = { score: f32([1, values.length], Float32Array.from(values)), sparsity: f32([], [sparsity]) };
  const outputs = await program.run(feeds);
  await program.dispose();
  return Array.from(outputs.mask!.data as Float32Array);
}

describe('pst', () => {
  const laws = { startsChanged: true, constantParts: true };
  testMethod(pst, { config: { r: 2, scoreRank: 2, init: 0.1 }, ...laws });
  testMethod(pst, {
    config: { r: 1, scoreRank: 2, sparsity: 0.3, beta: 0.5, alpha1: 2, alpha2: 0.5, init: 0.1 },
    ...laws,
  });

  it('takes its defaults from the paper and its code', () => {
    expect(pst().config).toMatchObject({ r: 8, scoreRank: 8, beta: 1, alpha1: 1, alpha2: 1 });
  });

  it('prunes exactly the lowest scores, the later among equals', async () => {
    expect(await maskOf([3, 1, 2, 0], 0.5)).toEqual([1, 0, 1, 0]);
    expect(await maskOf([1, 1, 1, 1], 0.5)).toEqual([1, 1, 0, 0]);
    expect(await maskOf([1, 2, 3, 4], 0)).toEqual([1, 1, 1, 1]);
    expect(await maskOf([4, 3, 2, 1], 0.99)).toEqual([1, 0, 0, 0]);
    expect(prunedCount(1000, 0.1)).toBe(100);
  });

  it('keeps in the end what sorting all scores keeps, negative ones too', () => {
    const draw = (name: string, ...shape: number[]) => createRandom(1).fork(name).normal(shape);
    const [W, a, b] = [draw('W', 6, 5), draw('a', 6, 2), draw('b', 2, 5)];
    const none = (...shape: number[]) => f32(shape, new Float32Array(shape.reduce((n, d) => n * d)));
    const p = { u: none(6, 1), v: none(1, 5), a, b, r: none(6), c: none(5) };
    const kept = keptAtEnd(W, p, pst({ sparsity: 0.4, alpha1: 3 }).config as PstSettings);
    const scores = Array.from(W.data as Float32Array, (x, at) => {
      const of = (k: number) => Number(a.data[2 * Math.floor(at / 5) + k]) * Number(b.data[5 * k + (at % 5)]);
      return Math.abs(x) + 3 * (of(0) + of(1));
    });
    const cut = [...scores].sort((x, y) => y - x)[17]!;
    expect([...kept]).toEqual(scores.map((score) => Number(score >= cut)));
    expect(Math.min(...scores)).toBeLessThan(0);
  });

  it('grows the sparsity by a cube between the warm-ups', () => {
    const c = pst({ sparsity: 0.5, initialWarmup: 0.1, finalWarmup: 0.2 }).config as PstSettings;
    const at = (step: number) => sparsityAt({ step, total: 20 }, c);
    expect([at(1), at(2), at(9), at(16), at(20)]).toEqual([0, 0, 0.4375, 0.5, 0.5]);
  });

  it('refuses parts that mean nothing, all at once', () => {
    expect(() => pst({ sparsity: 1, r: 0 })).toThrow(/sparsity.*r:/s);
    expect(() => pst({ initialWarmup: 0.5, finalWarmup: 0.5 })).toThrow(/leaves no step between/);
    expect(() => pst({ sparsity: 0.2, initialSparsity: 0.4 })).toThrow(/is above sparsity/);
    expect(() => bindMethod(pst({ r: 7, scoreRank: 9, targetModules: ['up'] }), tinyModel())).toThrow(
      /its weight is 8 × 6, r is 7: take 6 at most.*its weight is 8 × 6, scoreRank is 9: take 6 at most/s,
    );
  });
});
