import { toF32 } from '../tensor/convert.js';
import { type Matrix, matmul, matrix, qr, transpose } from '../tensor/qr.js';
import { f32, tensorRef } from '../tensor/refs.js';
import { type Svd, svd } from '../tensor/svd.js';
import { topSvd } from '../tensor/top-svd.js';
import type { Term } from './delta.js';
import { read2d, scaleOf } from './kinds/common.js';
import { lowRankTerm } from './kinds/low-rank.js';
import { sumOfSquares, type Truncation, truncates } from './truncation.js';

/** ΔW = left · right in the parameter's own layout and in double precision: [rows, r] and [r, columns]. */
export interface Factors {
  readonly left: Matrix;
  readonly right: Matrix;
}

/** How a parameter lies, which decides how files name its factors. See `LowRankOptions`. */
export interface Orientation {
  readonly transposed?: boolean;
  readonly embedding?: boolean;
}

export const orientationOf = ({ meta }: Term): Orientation => ({
  transposed: meta.transposed === true,
  embedding: meta.embedding === true,
});

/** A low-rank term multiplied by `weight`; all scales go to the left. */
export async function factorsOf(term: Term, weight = 1): Promise<Factors> {
  const [a, b] = await Promise.all([read2d(term, 'a'), read2d(term, 'b')]);
  const [first, second] = [a, b].map(({ shape, ...rest }) =>
    matrix(shape[0]!, shape[1]!, toF32({ shape, ...rest }).data),
  ) as [Matrix, Matrix];
  const { left, right } =
    term.meta.transposed === true
      ? { left: transpose(first), right: transpose(second) }
      : { left: second, right: first };
  const scale = scaleOf(term) * weight;
  return { left: scale === 1 ? left : { ...left, data: left.data.map((x) => scale * x) }, right };
}

/** The sum of updates as one: factors side by side, ranks add. Exact. */
export function concatFactors(parts: readonly Factors[]): Factors {
  const r = parts.reduce((sum, { left }) => sum + left.columns, 0);
  const rows = parts[0]!.left.rows;
  const columns = parts[0]!.right.columns;
  const left = matrix(rows, r);
  const right = matrix(r, columns);
  let at = 0;
  for (const part of parts) {
    const width = part.left.columns;
    right.data.set(part.right.data, at * columns);
    for (let i = 0; i < rows; i++) left.data.set(part.left.data.subarray(i * width, (i + 1) * width), i * r + at);
    at += width;
  }
  return { left, right };
}

/**
 * The singular value decomposition of left · right without the product: with left = Q₁R₁ and rightᵀ = Q₂R₂ it is that of
 * the r × r core R₁R₂ᵀ, turned by Q₁ and Q₂. Memory (rows + columns) · r.
 */
export function svdOfFactors({ left, right }: Factors): Svd {
  const [one, two] = [qr(left), qr(transpose(right))];
  const { u, s, v } = svd(matmul(one.r, transpose(two.r)));
  return { u: matmul(one.q, u), s, v: matmul(two.q, v) };
}

/** What a float32 matrix says no more about: half a unit in the last place of its largest entries. */
const float32Rounding = 2 ** -24;

/** A full decomposition up to here takes seconds; from here on it is made only where most of it is wanted. */
const largeSide = 512;

/**
 * That of a matrix in full. Its numerical rank is found first, so that one of low rank costs little. Of a large matrix
 * only as many directions as the truncation keeps, where those are few (see `topSvd`).
 */
export function svdOfDense(a: Matrix, truncation: Truncation = {}): Svd {
  return (truncates(truncation) && topOfLarge(a, truncation)) || full(a);
}

function full(a: Matrix): Svd {
  const { q, r } = qr(a, float32Rounding);
  const { u, s, v } = svd(r);
  return { u: matmul(q, u), s, v };
}

/** More and more directions until they hold the energy; none when they become so many that all are as cheap. */
function topOfLarge(a: Matrix, { rank = Number.POSITIVE_INFINITY, energy }: Truncation): Svd | undefined {
  const side = Math.min(a.rows, a.columns);
  if (side <= largeSide) return undefined;
  const enough = (energy ?? 1) * sumOfSquares(a.data);
  for (let k = energy === undefined ? rank : Math.min(rank, 16); k <= side / 8; k = Math.min(rank, 2 * k)) {
    const top = topSvd(a, k);
    if (k === rank || top.s.length < k || sumOfSquares(top.s) >= enough) return top;
  }
  return undefined;
}

/** The first `rank` directions as a term: b = U√S and a = √S Vᵀ, so that neither side outweighs the other. */
export function termOfSvd({ u, s, v }: Svd, rank: number, orientation: Orientation = {}): Term {
  const part = ({ rows, columns, data }: Matrix) => {
    const out = new Float32Array(rows * rank); // columns that do not exist stay zero
    for (let i = 0; i < rows; i++)
      for (let k = 0; k < Math.min(rank, columns); k++) out[i * rank + k] = data[i * columns + k]! * Math.sqrt(s[k]!);
    return { rows, data: out };
  };
  const turned = orientation.transposed || orientation.embedding;
  const [out, inside] = turned ? [part(v), part(u)] : [part(u), part(v)];
  const a = new Float32Array(inside.data.length);
  for (let i = 0; i < inside.rows; i++)
    for (let k = 0; k < rank; k++) a[k * inside.rows + i] = inside.data[i * rank + k]!;
  const tensors = { a: tensorRef(f32([rank, inside.rows], a)), b: tensorRef(f32([out.rows, rank], out.data)) };
  return lowRankTerm(tensors, { scale: 1, ...orientation });
}
