import { f32, matrix, type Tensor, topSvd } from '@peftjs/core';

/** Whether the rows are projected (Pᵀ G) or the columns (G P): the shorter side, as in the authors' code. */
export const projectsRows = ([rows, columns]: readonly number[]): boolean => rows! < columns!;

/** Shape of a gradient after the projection. */
export const projectedShape = (shape: readonly number[], r: number): [number, number] =>
  projectsRows(shape) ? [r, shape[1]!] : [shape[0]!, r];

/**
 * P of a gradient (Zhao et al. 2024, eq. 12 and 13): its r largest singular vectors on the shorter side, extent × r.
 * Columns are zero where the gradient has no more directions.
 */
export function projectorOf(gradient: Tensor, r: number): Tensor {
  const [rows, columns] = gradient.shape as readonly [number, number];
  const { u, v } = topSvd(matrix(rows, columns, gradient.data as Float32Array), r);
  const found = projectsRows(gradient.shape) ? u : v;
  const data = new Float32Array(found.rows * r);
  const own = Math.min(r, found.columns);
  for (let i = 0; i < found.rows; i++)
    for (let k = 0; k < own; k++) data[i * r + k] = found.data[i * found.columns + k]!;
  return f32([found.rows, r], data);
}
