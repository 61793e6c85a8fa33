import { type Matrix, matmul, matrix, qr, transpose } from './qr.js';
import { createRandom } from './random.js';
import { type Svd, svd } from './svd.js';

/** Directions beside those asked for, which make the iteration settle sooner. */
const oversampling = 8;

/** Steps after which a spectrum without a gap is taken as it is: its directions are then as good as any others. */
const maxSteps = 16;

/** Settled once a step adds less than this part of the energy found. */
const gainLimit = 1e-8;

/**
 * The k largest singular values with their vectors (fewer where A has no more), of a matrix too large to take apart in
 * full: block Krylov iteration (Musco & Musco 2015) from a fixed random start, about 4 m n k operations a step. Values
 * with a gap after them are as exact as those of `svd`; without one the energy kept is within a hair of the best. The
 * same bits for the same numbers.
 */
export function topSvd(a: Matrix, k: number): Svd {
  const { rows, columns } = a;
  const width = k + oversampling;
  const start = createRandom(0).fork('top-svd').normal([columns, width]).data as Float32Array;
  let next = matmul(a, matrix(columns, width, start));
  let basis = matrix(0, rows); // its rows are orthonormal directions of the column space of A
  let image = matrix(0, columns); // basis · A
  let found: Svd = { u: matrix(rows, 0), s: new Float64Array(0), v: matrix(columns, 0) };
  for (let step = 0, energy = 0; step < maxSteps; step++) {
    const fresh = beyond(next, basis);
    if (!fresh) break; // the basis has all of A
    const part = matmul(fresh, a);
    basis = below(basis, fresh);
    image = below(image, part);
    const { u, s, v } = svd(image);
    found = { u: matmul(transpose(basis), firstColumns(u, k)), s: s.slice(0, k), v: firstColumns(v, k) };
    const now = found.s.reduce((sum, x) => sum + x * x, 0);
    if (now - energy <= gainLimit * now) break;
    energy = now;
    next = matmul(a, transpose(part));
  }
  return found;
}

/** An orthonormal basis, in rows, of what the columns of y have beyond one; none when that is rounding. */
function beyond(y: Matrix, basis: Matrix): Matrix | undefined {
  const whole = norm(y);
  let rest = y;
  for (let pass = 0; pass < 2; pass++) {
    const along = matmul(transpose(basis), matmul(basis, rest));
    rest = { ...rest, data: rest.data.map((x, i) => x - along.data[i]!) };
  }
  const left = norm(rest);
  if (!(left > 1e-12 * whole)) return undefined;
  return transpose(qr(rest, (1e-13 * whole) / left).q);
}

const norm = ({ data }: Matrix): number => Math.sqrt(data.reduce((sum, x) => sum + x * x, 0));

function below(a: Matrix, b: Matrix): Matrix {
  const data = new Float64Array(a.data.length + b.data.length);
  data.set(a.data);
  data.set(b.data, a.data.length);
  return { rows: a.rows + b.rows, columns: b.columns, data };
}

function firstColumns({ rows, columns, data }: Matrix, count: number): Matrix {
  const k = Math.min(count, columns);
  const out = new Float64Array(rows * k);
  for (let i = 0; i < rows; i++) out.set(data.subarray(i * columns, i * columns + k), i * k);
  return { rows, columns: k, data: out };
}
