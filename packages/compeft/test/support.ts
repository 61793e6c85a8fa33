import { createRandom, type Delta, denseTerm, f32, lowRankTerm, type Term, tensorRef } from '@peftjs/core';

const rng = createRandom(11);

/** Normal numbers of a shape, from a name. */
export const normal = (name: string, shape: readonly number[], std = 1) => rng.fork(name).normal(shape, 0, std);

/** A delta of dense terms, one for each shape. */
export function denseDelta(shapes: Readonly<Record<string, readonly number[]>>): Delta {
  const params = Object.entries(shapes).map(
    ([path, shape]) => [path, [denseTerm(tensorRef(normal(path, shape)))]] as const,
  );
  return { shape: new Map(Object.entries(shapes)), params: new Map(params) };
}

/** Low-rank, dense and mixed terms together: what a codec may meet. */
export function mixedDelta(): Delta {
  const factors = (name: string, out: number, inside: number, rank: number) => ({
    a: tensorRef(normal(`${name}.a`, [rank, inside], 0.3)),
    b: tensorRef(normal(`${name}.b`, [out, rank], 0.02)),
  });
  const whole = (name: string, shape: readonly number[]) => denseTerm(tensorRef(normal(name, shape, 0.1)), 0.5);
  const params = new Map<string, readonly Term[]>([
    ['z.weight', [lowRankTerm(factors('z', 33, 50, 4), { scale: 2 })]],
    ['a.weight', [lowRankTerm(factors('a', 20, 31, 3), { scale: 0.5, transposed: true })]],
    ['e.weight', [lowRankTerm(factors('e', 9, 70, 2), { scale: 1, embedding: true })]],
    [
      'two.weight',
      [lowRankTerm(factors('t1', 8, 9, 2), { scale: 1 }), lowRankTerm(factors('t2', 8, 9, 1), { scale: 3 })],
    ],
    ['m.weight', [whole('m1', [12, 13]), lowRankTerm(factors('m2', 12, 13, 2), { scale: 1 })]],
    ['m.bias', [whole('bias', [12])]],
    ['scalar', [denseTerm(tensorRef(f32([], [0.25])))]],
    ['nothing', [denseTerm(tensorRef(f32([0, 4], [])))]],
  ]);
  const shape = new Map<string, readonly number[]>([
    ['z.weight', [33, 50]],
    ['a.weight', [31, 20]],
    ['e.weight', [70, 9]],
    ['two.weight', [8, 9]],
    ['m.weight', [12, 13]],
    ['m.bias', [12]],
    ['scalar', []],
    ['nothing', [0, 4]],
  ]);
  return { shape, params };
}

/** The pieces of a file as one. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
