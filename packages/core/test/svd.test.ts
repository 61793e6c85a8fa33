import { describe, expect, it } from 'vitest';
import { createRandom, isPeftError, type Matrix, matmul, matrix, qr, svd, topSvd, transpose } from '../src/index.js';

const random = createRandom(3);
const normal = (name: string, rows: number, columns: number): Matrix =>
  matrix(rows, columns, random.fork(name).normal([rows, columns]).data as Float32Array);

const identity = (n: number): Matrix => {
  const eye = matrix(n, n);
  for (let i = 0; i < n; i++) eye.data[i * n + i] = 1;
  return eye;
};

/** The largest difference of two matrices and where it is. */
function apart(got: Matrix, expected: Matrix): { difference: number; at: readonly number[] } {
  expect([got.rows, got.columns]).toEqual([expected.rows, expected.columns]);
  let at = 0;
  let difference = 0;
  got.data.forEach((x, i) => {
    const d = Math.abs(x - expected.data[i]!);
    if (!(d <= difference)) [at, difference] = [i, d];
  });
  return { difference, at: [Math.floor(at / got.columns), at % got.columns] };
}

const expectNear = (got: Matrix, expected: Matrix, limit: number) => {
  const { difference, at } = apart(got, expected);
  expect(difference, `largest difference at [${at}]`).toBeLessThanOrEqual(limit);
};

/** U diag(s) Vᵀ = A, both sides orthonormal, values descending. Rounding grows with size and scale of A. */
function expectDecomposes(a: Matrix): Float64Array {
  const { u, s, v } = svd(a);
  const k = Math.min(a.rows, a.columns);
  expect([s.length, u.rows, u.columns, v.rows, v.columns]).toEqual([k, a.rows, k, a.columns, k]);
  const limit = 1e-14 * Math.max(a.rows, a.columns);
  expectNear(matmul(transpose(u), u), identity(k), limit);
  expectNear(matmul(transpose(v), v), identity(k), limit);
  const scaled = { ...u, data: u.data.map((x, i) => x * s[i % k]!) };
  expectNear(matmul(scaled, transpose(v)), a, limit * (s[0] ?? 0));
  for (let i = 1; i < k; i++) expect(s[i]).toBeLessThanOrEqual(s[i - 1]!);
  expect(s.every((x) => x >= 0)).toBe(true);
  return s;
}

describe('matrix products', () => {
  it.each([
    [1, 1, 1],
    [2, 4, 3],
    [3, 7, 5],
    [5, 3, 2],
    [4, 0, 2],
    [1, 9, 4],
  ])('of %i × %i by %i add up in order, to the bit', (m, inner, n) => {
    const [a, b] = [normal('left', m, inner), normal('right', inner, n)];
    const sum = (i: number, j: number) =>
      Array.from({ length: inner }, (_, k) => a.data[i * inner + k]! * b.data[k * n + j]!).reduce((x, y) => x + y, 0);
    const expected = Float64Array.from({ length: m * n }, (_, at) => sum(Math.floor(at / n), at % n));
    expect(matmul(a, b)).toEqual({ rows: m, columns: n, data: expected });
  });
});

describe('qr', () => {
  const shapes = [
    [5, 5],
    [9, 4],
    [4, 9],
    [1, 6],
    [6, 1],
  ] as const;
  for (const [m, n] of shapes)
    it(`gives ${m} × ${n} back with orthonormal columns`, () => {
      const a = normal('qr', m, n);
      const { q, r } = qr(a);
      expect([q.columns, r.rows]).toEqual([Math.min(m, n), Math.min(m, n)]);
      expectNear(matmul(q, r), a, 1e-14);
      expectNear(matmul(transpose(q), q), identity(q.columns), 1e-14);
    });

  it('stops at the rank when told what is negligible', () => {
    const a = matmul(normal('l', 40, 3), normal('r', 3, 30));
    const { q, r } = qr(a, 1e-12);
    expect(q.columns).toBe(3);
    expectNear(matmul(q, r), a, 1e-12);
    expect(qr(matrix(4, 3), 1e-12).q.columns).toBe(0);
  });
});

describe('svd', () => {
  const shapes = [
    [1, 1],
    [7, 7],
    [60, 60],
    [200, 12],
    [12, 200],
    [1, 9],
    [9, 1],
  ] as const;
  for (const [m, n] of shapes)
    it(`takes apart a random ${m} × ${n} matrix`, () => {
      expectDecomposes(normal('a', m, n));
    });

  it('finds given singular values, equal ones among them', () => {
    const values = [5, 2, 2, 2, 1e-3, 1e-9];
    const [l, r] = [qr(normal('u', 20, 6)).q, qr(normal('v', 15, 6)).q];
    const scaled = { ...l, data: l.data.map((x, i) => x * values[i % 6]!) };
    const s = expectDecomposes(matmul(scaled, transpose(r)));
    values.forEach((value, i) => {
      expect(Math.abs(s[i]! - value)).toBeLessThan(1e-14);
    });
    expect([...expectDecomposes(identity(8))]).toEqual(new Array(8).fill(1));
  });

  it('completes both sides where the rank is short', () => {
    const s = expectDecomposes(matmul(normal('l', 30, 4), normal('r', 4, 25)));
    expect(s[3]).toBeGreaterThan(1);
    expect(s[4]).toBeLessThan(1e-13);
    const twice = matrix(4, 3, [1, 2, 1, 0, 0, 0, 2, 4, 2, 1, 2, 1]);
    expect(expectDecomposes(twice)[1]).toBeLessThan(1e-15);
  });

  it('takes zeros, and rows and columns of them', () => {
    expect([...expectDecomposes(matrix(4, 6))]).toEqual([0, 0, 0, 0]);
    expect([...expectDecomposes(matrix(3, 2, [0, 0, 0, 3, 0, 0]))]).toEqual([3, 0]);
  });

  it('keeps small values beside large ones, and extreme scales', () => {
    const graded = matrix(3, 3, [1, 1, 1, 0, 1e-8, 1e-8, 0, 0, 1e-16]);
    // det = matmul of the values: relative accuracy of the smallest is that of the whole.
    const s = expectDecomposes(graded);
    expect(Math.abs((s[0]! * s[1]! * s[2]!) / 1e-24 - 1)).toBeLessThan(1e-12); // three values of relative error 1e-15, and room
    for (const size of [1e-200, 1e200]) {
      const a = normal('scale', 6, 4);
      const [one, other] = [svd(a).s, svd({ ...a, data: a.data.map((x) => x * size) }).s];
      one.forEach((x, i) => {
        expect(Math.abs(other[i]! / size / x - 1)).toBeLessThan(1e-13);
      });
    }
  });

  it('holds for two hundred random shapes, ranks and gradings', () => {
    const draw = random.fork('many').uniform([200, 4]).data as Float32Array;
    for (let i = 0; i < 200; i++) {
      const pick = (j: number, upTo: number) => 1 + Math.floor(draw[4 * i + j]! * upTo);
      const [m, n, rank] = [pick(0, 24), pick(1, 24), pick(2, 24)];
      const left = normal(`l${i}`, m, rank);
      const fall = draw[4 * i + 3]! * 3;
      const graded = { ...left, data: left.data.map((x, at) => x * Math.exp(-fall * (at % rank))) };
      expectDecomposes(matmul(graded, normal(`r${i}`, rank, n)));
    }
  });

  it('gives the same bits again, with the largest entry of each left vector positive', () => {
    const a = normal('again', 10, 6);
    const [one, two] = [svd(a), svd(a)];
    expect([one.u.data, one.s, one.v.data]).toEqual([two.u.data, two.s, two.v.data]);
    for (let k = 0; k < 6; k++) {
      const column = Array.from({ length: 10 }, (_, i) => one.u.data[i * 6 + k]!);
      expect(Math.max(...column)).toBe(Math.max(...column.map(Math.abs)));
    }
  });

  it('refuses what is not a number, saying where', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      try {
        svd(matrix(2, 2, [1, 0, bad, 1]));
        expect.unreachable();
      } catch (error) {
        expect(isPeftError(error) && error.code).toBe('CONFIG_INVALID');
        expect(String(error)).toContain(`${bad} at [1, 0]`);
      }
  });
});

describe('topSvd', () => {
  /** Largest difference from the first values of `svd`, as a part of the largest. */
  const error = (a: Matrix, k: number): number => {
    const [top, all] = [topSvd(a, k), svd(a).s];
    expectNear(matmul(transpose(top.u), top.u), identity(top.s.length), 1e-12);
    expectNear(matmul(transpose(top.v), top.v), identity(top.s.length), 1e-12);
    return Math.max(...Array.from(top.s, (x, i) => Math.abs(x - all[i]!) / all[0]!));
  };

  it('finds the largest values of falling spectra', () => {
    const q = qr(normal('basis', 90, 60)).q;
    const fall = { ...q, data: q.data.map((x, i) => x * Math.exp(-(i % 60) / 4)) };
    expect(error(matmul(fall, normal('other', 60, 70)), 6)).toBeLessThan(1e-12);
  });

  it('comes close where the spectrum is flat, from both sides', () => {
    for (const [m, n] of [
      [120, 80],
      [80, 120],
    ] as const)
      expect(error(normal('flat', m, n), 5)).toBeLessThan(1e-6); // it settles on the energy, not on each value
  });

  it('ends with what there is', () => {
    const low = matmul(normal('left', 50, 3), normal('right', 3, 40));
    expect(topSvd(low, 5).s.length).toBe(3);
    expect(error(low, 5)).toBeLessThan(1e-13);
    expect(topSvd(matrix(6, 5), 2).s.length).toBe(0);
    expect(error(normal('all', 9, 7), 7)).toBeLessThan(1e-13);
  });

  it('gives the same bits again', () => {
    const a = normal('same', 40, 30);
    expect(topSvd(a, 4)).toEqual(topSvd(a, 4));
  });
});
