import { type Matrix, matmul, matrix, qr, transpose } from '@peftjs/core';

export interface Decomposition {
  /** W - U V. */
  readonly residual: Matrix;
  /** S: the residual where it is at least the threshold, 0 elsewhere. */
  readonly sparse: Matrix;
  readonly rank: number;
}

export interface DecomposeOptions {
  /** The first row of V: 1 × columns of W. */
  readonly v: Matrix;
  readonly threshold: number;
  /** V grows in each but the last one. */
  readonly rounds: number;
}

/** Rows by which V grows in a round. */
export const growth = 5;

/**
 * W ≈ U V + S as the authors find where S₂ goes (after GreBsmo, Zhou & Tao 2013): in each round U = orth((W - S) Vᵀ),
 * V = Uᵀ (W - S) and S = W - U V cut at the threshold, twice and from S = 0 on; then V grows by what the first five
 * columns of the error span. In double precision: after some five rounds the way depends on rounding.
 */
export function decompose(W: Matrix, { v, threshold, rounds }: DecomposeOptions): Decomposition {
  let V = v;
  let residual = W;
  let sparse = W;
  for (let round = 1; round <= rounds; round++) {
    sparse = matrix(W.rows, W.columns);
    for (let pass = 0; pass < 2; pass++) {
      const rest = minus(W, sparse);
      const U = qr(matmul(rest, transpose(V))).q;
      V = matmul(transpose(U), rest);
      residual = minus(W, matmul(U, V));
      sparse = { ...residual, data: residual.data.map((x) => (Math.abs(x) < threshold ? 0 : x)) };
    }
    if (round < rounds) V = below(V, spanned(minus(residual, sparse)));
  }
  return { residual, sparse, rank: V.rows };
}

/** The rounds after which V has at most `rank` rows. */
export const roundsTo = (rank: number): number => 1 + Math.floor((rank - 1) / growth);

const minus = (a: Matrix, b: Matrix): Matrix => ({ ...a, data: a.data.map((x, i) => x - b.data[i]!) });

const below = (a: Matrix, b: Matrix): Matrix => matrix(a.rows + b.rows, a.columns, [...a.data, ...b.data]);

/** Qᵀ E with Q an orthonormal basis of E's first columns: the first rows of R in E = Q R, up to their basis. */
function spanned(E: Matrix): Matrix {
  const count = Math.min(growth, E.columns);
  const first = matrix(E.rows, count);
  for (let i = 0; i < E.rows; i++)
    for (let j = 0; j < count; j++) first.data[i * count + j] = E.data[i * E.columns + j]!;
  return matmul(transpose(qr(first).q), E);
}
