import { PeftError } from '../errors.js';
import { type Matrix, matmul, matrix, qr, transpose } from './qr.js';

export interface Svd {
  /** m × k, orthonormal columns; in each the entry of largest magnitude is positive. */
  readonly u: Matrix;
  /** k = min(m, n) singular values, descending, none negative. */
  readonly s: Float64Array;
  /** n × k, orthonormal columns. */
  readonly v: Matrix;
}

/**
 * Thin singular value decomposition A = U diag(s) Vᵀ in double precision. The same bits for the same numbers; U and V
 * are orthonormal whatever the rank. One-sided Jacobi after a pivoted QR (Drmač & Veselić 2008), so a tall or wide matrix
 * costs its QR and a decomposition of the smaller side: about 60 min(m, n)³ operations, made for a few hundred.
 * @throws PeftError CONFIG_INVALID for NaN and infinite entries
 */
export function svd(a: Matrix): Svd {
  if (a.columns > a.rows) {
    const { u, s, v } = svd(transpose(a));
    return signed({ u: v, s, v: u });
  }
  const size = largest(a);
  const scaled = { ...a, data: size > 0 ? a.data.map((x) => x / size) : a.data }; // squares neither over- nor underflow
  const { q, r } = qr(scaled);
  const { u, s, v } = jacobi(r);
  return signed({ u: matmul(q, u), s: s.map((x) => x * size), v });
}

function largest({ data, columns }: Matrix): number {
  let size = 0;
  for (let i = 0; i < data.length; i++) {
    const x = Math.abs(data[i]!);
    if (!Number.isFinite(x))
      throw new PeftError(
        'CONFIG_INVALID',
        `A matrix with ${data[i]} at [${Math.floor(i / columns)}, ${i % columns}] has no singular values.`,
      );
    if (x > size) size = x;
  }
  return size;
}

/** Quadratic convergence sets in after a few sweeps; this many means that something is broken. */
const maxSweeps = 60;

/** R = J diag(s) Vᵀ of a square matrix: rotations J make its rows orthogonal (Hestenes 1958). */
function jacobi(r: Matrix): Svd {
  const n = r.rows;
  const w = Float64Array.from(r.data); // rows become s Vᵀ
  const jt = matrix(n, n).data; // rows become the columns of J
  for (let i = 0; i < n; i++) jt[i * n + i] = 1;
  const norms = new Float64Array(n);
  const tolerance = Number.EPSILON * Math.sqrt(n);
  for (let sweep = 0, rotated = true; rotated; sweep++) {
    if (sweep === maxSweeps)
      throw new PeftError('INTERNAL', `Singular values of a ${n} × ${n} matrix did not settle in ${sweep} sweeps.`);
    rotated = false;
    for (let i = 0; i < n; i++) norms[i] = dot(w, i * n, i * n, n); // afresh, so that updates do not drift
    for (let p = 0; p < n - 1; p++)
      for (let q = p + 1; q < n; q++) {
        const pp = norms[p]!;
        const qq = norms[q]!;
        if (pp === 0 || qq === 0) continue;
        const pq = dot(w, p * n, q * n, n);
        if (Math.abs(pq) <= tolerance * Math.sqrt(pp) * Math.sqrt(qq)) continue;
        rotated = true;
        // The smaller angle that zeroes pq (Golub & Van Loan, section 8.5).
        const zeta = (qq - pp) / (2 * pq);
        const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        rotate(w, p * n, q * n, c, c * t, n);
        rotate(jt, p * n, q * n, c, c * t, n);
        norms[p] = Math.max(0, pp - t * pq);
        norms[q] = qq + t * pq;
      }
  }
  return ordered(w, jt, n);
}

function dot(x: Float64Array, p: number, q: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += x[p + i]! * x[q + i]!;
  return sum;
}

function rotate(x: Float64Array, p: number, q: number, c: number, s: number, n: number): void {
  for (let i = 0; i < n; i++) {
    const a = x[p + i]!;
    const b = x[q + i]!;
    x[p + i] = c * a - s * b;
    x[q + i] = s * a + c * b;
  }
}

/** Rows of w by descending norm: the norms, the directions, and the matching rotations. */
function ordered(w: Float64Array, jt: Float64Array, n: number): Svd {
  const norms = Array.from({ length: n }, (_, i) => Math.sqrt(dot(w, i * n, i * n, n)));
  const order = norms.map((_, i) => i).sort((i, j) => norms[j]! - norms[i]! || i - j);
  const s = Float64Array.from(order, (i) => norms[i]!);
  const u = new Float64Array(n * n);
  const v = new Float64Array(n * n);
  order.forEach((i, k) => {
    u.set(jt.subarray(i * n, (i + 1) * n), k * n);
    if (s[k]! > 0) for (let j = 0; j < n; j++) v[k * n + j] = w[i * n + j]! / s[k]!;
    else complete(v, k, n);
  });
  const columns = (data: Float64Array) => transpose({ rows: n, columns: n, data });
  return { u: columns(u), s, v: columns(v) };
}

/** Row k becomes a unit vector orthogonal to the rows before it: what is left of the unit vector least like them. */
function complete(v: Float64Array, k: number, n: number): void {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let j = 0; j < n; j++) {
    let covered = 0;
    for (let i = 0; i < k; i++) covered += v[i * n + j]! ** 2;
    if (covered < least) [best, least] = [j, covered];
  }
  v[k * n + best] = 1;
  for (let pass = 0; pass < 2; pass++) {
    for (let i = 0; i < k; i++) {
      const c = dot(v, k * n, i * n, n);
      for (let j = 0; j < n; j++) v[k * n + j] = v[k * n + j]! - c * v[i * n + j]!;
    }
  }
  const norm = Math.sqrt(dot(v, k * n, k * n, n));
  for (let j = 0; j < n; j++) v[k * n + j] = v[k * n + j]! / norm;
}

/** Both vectors of a pair may change sign together: the largest entry of u decides, the first of equals. */
function signed({ u, s, v }: Svd): Svd {
  const flip = (x: Matrix, k: number) => {
    for (let i = k; i < x.data.length; i += x.columns) x.data[i] = -x.data[i]!;
  };
  for (let k = 0; k < s.length; k++) {
    let top = 0;
    for (let i = k; i < u.data.length; i += u.columns) if (Math.abs(u.data[i]!) > Math.abs(top)) top = u.data[i]!;
    if (top >= 0) continue;
    flip(u, k);
    flip(v, k);
  }
  return { u, s, v };
}
