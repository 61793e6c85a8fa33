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

/** A B. Products are added in the order of k, whatever the blocks below. */
export function matmul(a: Matrix, b: Matrix): Matrix {
  const { rows, columns: inner } = a;
  const { columns } = b;
  const data = new Float64Array(rows * columns);
  // Two rows by four k at a time: what is read is used where it stands.
  let i = 0;
  for (; i + 1 < rows; i += 2) {
    let k = 0;
    for (; k + 3 < inner; k += 4) addTwoByFour(data, a, b, i, k);
    for (; k < inner; k++) {
      addRow(data, a, b, i, k);
      addRow(data, a, b, i + 1, k);
    }
  }
  if (i < rows) for (let k = 0; k < inner; k++) addRow(data, a, b, i, k);
  return { rows, columns, data };
}

/** Row i of the product takes in what a_ik makes of row k of b. */
function addRow(out: Float64Array, a: Matrix, b: Matrix, i: number, k: number): void {
  const n = b.columns;
  const x = a.data[i * a.columns + k]!;
  for (let j = 0, at = i * n, from = k * n; j < n; j++, at++) out[at] = out[at]! + x * b.data[from + j]!;
}

/** The same for rows i, i + 1 and k to k + 3. */
function addTwoByFour(out: Float64Array, { data: a, columns: inner }: Matrix, b: Matrix, i: number, k: number): void {
  const { data, columns: n } = b;
  const p = i * inner + k;
  const q = p + inner;
  const [x0, x1, x2, x3] = [a[p]!, a[p + 1]!, a[p + 2]!, a[p + 3]!];
  const [y0, y1, y2, y3] = [a[q]!, a[q + 1]!, a[q + 2]!, a[q + 3]!];
  for (let j = 0, from = k * n, at = i * n; j < n; j++, from++, at++) {
    const b0 = data[from]!;
    const b1 = data[from + n]!;
    const b2 = data[from + 2 * n]!;
    const b3 = data[from + 3 * n]!;
    out[at] = out[at]! + x0 * b0 + x1 * b1 + x2 * b2 + x3 * b3;
    out[at + n] = out[at + n]! + y0 * b0 + y1 * b1 + y2 * b2 + y3 * b3;
  }
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
