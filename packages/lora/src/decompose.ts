import { f32, type Matrix, matmul, matrix, svd, type Tensor, topSvd, transpose } from '@peftjs/core';

// Starts that are parts of the base's weight W (out × in). What is trained is s (B A - B₀ A₀) on the untouched base.

export interface StartFactors {
  readonly a: Tensor; // r × in
  readonly b: Tensor; // out × r
}

/** Sides up to which a full decomposition costs little; beyond, the leading directions are found by iteration. */
const smallSide = 128;

const tensorOf = ({ rows, columns, data }: Matrix): Tensor => f32([rows, columns], data);

/**
 * PiSSA (Meng et al. 2024, eq. 2 and 3): with W = U S Vᵀ the leading part, B₀ = U_r √(S_r / s) and A₀ = √(S_r / s) V_rᵀ,
 * so that s B₀ A₀ is the best approximation of rank r.
 */
export function principalFactors(w: Matrix, r: number, s: number): StartFactors {
  const { u, s: values, v } = Math.min(w.rows, w.columns) <= smallSide ? svd(w) : topSvd(w, r);
  const part = ({ rows, columns, data }: Matrix): Matrix => {
    const out = matrix(rows, r);
    for (let i = 0; i < rows; i++)
      for (let k = 0; k < Math.min(r, columns); k++)
        out.data[i * r + k] = data[i * columns + k]! * Math.sqrt(values[k]! / s);
    return out;
  };
  return { a: tensorOf(transpose(part(v))), b: tensorOf(part(u)) };
}

/**
 * OLoRA (Büyükakyüz 2024, section 3): with W = Q R, B₀ is the first r columns of Q and A₀ the first r rows of R. The scale
 * is not divided out, as in PEFT.
 */
export function orthonormalFactors(w: Matrix, r: number): StartFactors {
  const q = firstColumns(w, r); // its rows are the columns of Q
  return { a: tensorOf(matmul(q, w)), b: tensorOf(transpose(q)) };
}

/**
 * The first r columns of W made orthonormal one after the other (Gram and Schmidt, twice), as rows; r is at most the rows
 * of W.
 */
function firstColumns(w: Matrix, r: number): Matrix {
  const q = matrix(r, w.rows);
  for (let k = 0; k < r; k++) {
    const column = rowOf(q, k);
    for (let i = 0; i < w.rows; i++) column[i] = w.data[i * w.columns + k]!;
    let least = 1e-12 * norm(column);
    let rest = turnAway(q, k);
    // A column that those before it make up adds no direction: in its place stands an axis that does. What is left of all
    // axes has squares that sum up to rows - k, so one of them keeps at least a norm of 1 / √rows.
    for (let axis = 0; rest <= least && axis < w.rows; axis++) {
      column.fill(0);
      column[axis] = 1;
      least = 0.5 / Math.sqrt(w.rows);
      rest = turnAway(q, k);
    }
    for (let i = 0; i < column.length; i++) column[i] = column[i]! / rest;
  }
  return q;
}

const rowOf = ({ columns, data }: Matrix, k: number): Float64Array => data.subarray(k * columns, (k + 1) * columns);

/** Takes the directions of the rows before row k out of it. The norm that is left. */
function turnAway(q: Matrix, k: number): number {
  const row = rowOf(q, k);
  for (let pass = 0; pass < 2; pass++)
    for (let j = 0; j < k; j++) {
      const before = rowOf(q, j);
      const along = row.reduce((sum, x, i) => sum + x * before[i]!, 0);
      for (let i = 0; i < row.length; i++) row[i] = row[i]! - along * before[i]!;
    }
  return norm(row);
}

const norm = (x: Float64Array): number => Math.sqrt(x.reduce((sum, value) => sum + value * value, 0));
