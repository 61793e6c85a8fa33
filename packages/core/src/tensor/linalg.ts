import { PeftError } from '../errors.js';

/**
 * Small dense linear algebra in double precision, for starts and corrections that are computed once. Row-major.
 */

/** Q of the QR decomposition of an n × n matrix by Householder reflections, columns signed so that R's diagonal is >= 0. */
export function orthonormalBasis(matrix: ArrayLike<number>, n: number): Float64Array {
  const r = Float64Array.from(matrix);
  const q = new Float64Array(n * n);
  for (let i = 0; i < n; i++) q[i * n + i] = 1;
  const v = new Float64Array(n);
  for (let k = 0; k < n; k++) {
    let norm = 0;
    for (let i = k; i < n; i++) norm += r[i * n + k]! ** 2;
    norm = Math.sqrt(norm);
    if (norm === 0) continue;
    v.fill(0);
    for (let i = k; i < n; i++) v[i] = r[i * n + k]!;
    v[k] = v[k]! + (v[k]! >= 0 ? norm : -norm);
    const vv = v.reduce((sum, x) => sum + x * x, 0);
    // R <- H R, Q <- Q H with H = I - 2 v vᵀ / vᵀv
    for (let j = 0; j < n; j++) {
      let dot = 0;
      for (let i = k; i < n; i++) dot += v[i]! * r[i * n + j]!;
      for (let i = k; i < n; i++) r[i * n + j] = r[i * n + j]! - (2 * dot * v[i]!) / vv;
    }
    for (let i = 0; i < n; i++) {
      let dot = 0;
      for (let j = k; j < n; j++) dot += q[i * n + j]! * v[j]!;
      for (let j = k; j < n; j++) q[i * n + j] = q[i * n + j]! - (2 * dot * v[j]!) / vv;
    }
  }
  for (let j = 0; j < n; j++) if (r[j * n + j]! < 0) for (let i = 0; i < n; i++) q[i * n + j] = -q[i * n + j]!;
  return q;
}

/**
 * Inverse of a symmetric positive definite n × n matrix by Cholesky, M = L Lᵀ.
 * @throws PeftError CONFIG_INVALID when it is not positive definite
 */
export function inversePositive(matrix: ArrayLike<number>, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      if (i !== j) l[i * n + j] = sum / l[j * n + j]!;
      else if (sum > 0) l[i * n + i] = Math.sqrt(sum);
      else
        throw new PeftError(
          'CONFIG_INVALID',
          `A ${n} × ${n} matrix to invert is not positive definite (pivot ${i} is ${sum}).`,
        );
    }
  }
  const inverse = new Float64Array(n * n);
  const x = new Float64Array(n);
  for (let column = 0; column < n; column++) {
    for (let i = 0; i < n; i++) {
      let sum = i === column ? 1 : 0;
      for (let k = 0; k < i; k++) sum -= l[i * n + k]! * x[k]!;
      x[i] = sum / l[i * n + i]!;
    }
    for (let i = n - 1; i >= 0; i--) {
      let sum = x[i]!;
      for (let k = i + 1; k < n; k++) sum -= l[k * n + i]! * x[k]!;
      x[i] = sum / l[i * n + i]!;
    }
    for (let i = 0; i < n; i++) inverse[i * n + column] = x[i]!;
  }
  return inverse;
}
