import { PeftError } from '@peftjs/core';

/**
 * The upper triangular U with UᵀU = H⁻¹, for a symmetric positive definite n × n matrix H, row-major: what both GPTQ and
 * SparseGPT call Cholesky(H⁻¹)ᵀ. H = R Rᵀ with R upper triangular, taken from the last row up, gives U = R⁻¹ without
 * forming H⁻¹.
 * @throws PeftError CONFIG_INVALID when H is not positive definite
 */
export function inverseFactor(h: ArrayLike<number>, n: number): Float64Array {
  const r = new Float64Array(n * n);
  for (let i = n - 1; i >= 0; i--) {
    for (let j = n - 1; j >= i; j--) {
      let sum = h[i * n + j]!;
      for (let k = j + 1; k < n; k++) sum -= r[i * n + k]! * r[j * n + k]!;
      if (j > i) r[i * n + j] = sum / r[j * n + j]!;
      else if (sum > 0) r[i * n + i] = Math.sqrt(sum);
      else throw notPositive(n, i, sum);
    }
  }
  return upperInverse(r, n);
}

/** R⁻¹ of an upper triangular R, row by row from the last: U_i = (e_i − Σ_{k>i} R_ik U_k) / R_ii. */
function upperInverse(r: Float64Array, n: number): Float64Array {
  const u = new Float64Array(n * n);
  for (let i = n - 1; i >= 0; i--) {
    const row = u.subarray(i * n, (i + 1) * n);
    row[i] = 1;
    for (let k = i + 1; k < n; k++) {
      const c = r[i * n + k]!;
      if (c !== 0) for (let j = k; j < n; j++) row[j] = row[j]! - c * u[k * n + j]!;
    }
    for (let j = i; j < n; j++) row[j] = row[j]! / r[i * n + i]!;
  }
  return u;
}

const notPositive = (n: number, pivot: number, value: number): PeftError =>
  new PeftError(
    'CONFIG_INVALID',
    `The second moments of ${n} inputs are not positive definite (pivot ${pivot} is ${value}): calibrate on more rows, or raise damping.`,
    { details: { inputs: n, pivot, value } },
  );
