/** A matrix in double precision, row-major. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

export const matrix = (rows: number, columns: number, data?: ArrayLike<number>): Matrix => ({
  rows,
  columns,
  data: data ? Float64Array.from(data) : new Float64Array(rows * columns),
});

export function transpose({ rows, columns, data }: Matrix): Matrix {
  const turned = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = data[i * columns + j]!;
  return { rows: columns, columns: rows, data: turned };
}

/** A B. */
export function matmul(a: Matrix, b: Matrix): Matrix {
  const { rows, columns: inner } = a;
  const { columns } = b;
  const data = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < inner; k++) {
      const x = a.data[i * inner + k]!;
      if (x !== 0)
        for (let j = 0, at = i * columns, from = k * columns; j < columns; j++, at++)
          data[at] = data[at]! + x * b.data[from + j]!;
    }
  return { rows, columns, data };
}

export interface Qr {
  /** m × k, orthonormal columns. */
  readonly q: Matrix;
  /** k × n. Upper triangular up to the order of its columns, its rows ordered from large to small. */
  readonly r: Matrix;
}

/**
 * A = Q R by Householder reflections with column pivoting (Businger & Golub 1965). `r` has its columns back in the order
 * of A, so nothing is left to undo.
 * @param tolerance stops with fewer than k = min(m, n) columns once the rest is at most this part of the norm of A
 *   (Frobenius). Default: never
 */
export function qr(a: Matrix, tolerance?: number): Qr {
  const { rows: m, columns: n } = a;
  const columns = transpose(a).data; // column j of A is columns[j m .. (j + 1) m): everything below runs along it
  const order = Int32Array.from({ length: n }, (_, j) => j);
  const taus = new Float64Array(Math.min(m, n));
  const left = (j: number, from: number) => squares(columns, order[j]! * m + from, m - from);
  let whole = 0;
  for (let j = 0; j < n; j++) whole += left(j, 0);

  let k = 0;
  for (; k < taus.length; k++) {
    let best = k;
    let most = -1;
    let rest = 0;
    for (let j = k; j < n; j++) {
      const norm = left(j, k);
      rest += norm;
      if (norm > most) [best, most] = [j, norm];
    }
    if (tolerance !== undefined && rest <= tolerance * tolerance * whole) break;
    [order[k], order[best]] = [order[best]!, order[k]!];
    const at = order[k]! * m;
    taus[k] = reflector(columns, at + k, m - k);
    for (let j = k + 1; j < n; j++) reflect(columns, at + k, taus[k]!, columns, order[j]! * m + k, m - k);
  }

  const r = new Float64Array(k * n);
  for (let j = 0; j < n; j++)
    for (let i = 0; i <= Math.min(j, k - 1); i++) r[i * n + order[j]!] = columns[order[j]! * m + i]!;
  const qt = new Float64Array(k * m);
  for (let j = k - 1; j >= 0; j--) {
    qt[j * m + j] = 1;
    for (let i = j; i < k; i++) reflect(columns, order[j]! * m + j, taus[j]!, qt, i * m + j, m - j);
  }
  return { q: transpose({ rows: k, columns: m, data: qt }), r: { rows: k, columns: n, data: r } };
}

function squares(x: Float64Array, at: number, length: number): number {
  let sum = 0;
  for (let i = at; i < at + length; i++) sum += x[i]! * x[i]!;
  return sum;
}

/**
 * H = I - tau v vᵀ with H x = (beta, 0, ...): x is overwritten by beta and the tail of v, whose first entry is 1.
 * @returns tau; 0 when x is a multiple of the first unit vector already
 */
function reflector(x: Float64Array, at: number, length: number): number {
  const tail = squares(x, at + 1, length - 1);
  const alpha = x[at]!;
  if (tail === 0) return 0;
  const beta = alpha >= 0 ? -Math.sqrt(alpha * alpha + tail) : Math.sqrt(alpha * alpha + tail);
  for (let i = at + 1; i < at + length; i++) x[i] = x[i]! / (alpha - beta);
  x[at] = beta;
  return (beta - alpha) / beta;
}

/** y <- H y, with v as `reflector` left it. */
function reflect(v: Float64Array, vAt: number, tau: number, y: Float64Array, yAt: number, length: number): void {
  if (tau === 0) return;
  let dot = y[yAt]!;
  for (let i = 1; i < length; i++) dot += v[vAt + i]! * y[yAt + i]!;
  dot *= tau;
  y[yAt] = y[yAt]! - dot;
  for (let i = 1; i < length; i++) y[yAt + i] = y[yAt + i]! - dot * v[vAt + i]!;
}
