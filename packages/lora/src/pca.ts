import { createRandom, type Matrix, matmul, matrix, qr, type Svd, svd, type Tensor, transpose } from '@peftjs/core';

/** Leading directions of rows that come batch by batch (Ross et al. 2008): what EVA calls incremental SVD. */
export interface Pca {
  /** Rows seen. */
  readonly count: number;
  readonly mean: Float64Array;
  /** Sum over columns of squared distances from the mean. */
  readonly scatter: number;
  /** Singular values, descending, none zero. */
  readonly values: Float64Array;
  /** Orthonormal directions, one a row. */
  readonly components: Matrix;
}

export const emptyPca = (width: number): Pca => ({
  count: 0,
  mean: new Float64Array(width),
  scatter: 0,
  values: new Float64Array(0),
  components: matrix(0, width),
});

/** Share of the variance that each direction explains. */
export const explained = ({ values, scatter }: Pca): number[] => Array.from(values, (s) => s ** 2 / scatter);

/** Takes rows [count, width] in and keeps the `k` leading directions. */
export function update(pca: Pca, rows: Tensor, k: number): Pca {
  const [n, width] = rows.shape as [number, number];
  if (n === 0) return pca;
  const own = columnMeans(rows, n, width);
  const total = pca.count + n;
  const mean = own.map((x, j) => (pca.count * pca.mean[j]! + n * x) / total);
  // Directions so far with their lengths, the centred rows, and how far the means are apart.
  const stack = matrix(pca.values.length + n + 1, width);
  pca.values.forEach((s, i) => {
    for (let j = 0; j < width; j++) stack.data[i * width + j] = s * pca.components.data[i * width + j]!;
  });
  const at = pca.values.length * width;
  for (let i = 0; i < n * width; i++) stack.data[at + i] = Number(rows.data[i]) - own[i % width]!;
  const apart = Math.sqrt((pca.count * n) / total);
  for (let j = 0; j < width; j++) stack.data[at + n * width + j] = apart * (pca.mean[j]! - own[j]!);
  const fresh = stack.data.subarray(at).reduce((sum, x) => sum + x * x, 0);
  return { count: total, mean, scatter: pca.scatter + fresh, ...leading(stack, k) };
}

function columnMeans({ data }: Tensor, n: number, width: number): Float64Array {
  const mean = new Float64Array(width);
  for (let i = 0; i < n * width; i++) mean[i % width] = mean[i % width]! + Number(data[i]) / n;
  return mean;
}

/** The k leading directions, found in a subspace of twice as many. */
function leading(a: Matrix, k: number): Pick<Pca, 'values' | 'components'> {
  const { s, v } = Math.min(a.rows, a.columns) <= 2 * k ? svd(a) : subspaceSvd(a, 2 * k);
  const kept = s.filter((value, i) => i < k && value > 1e-7 * s[0]!).length;
  const components = matrix(kept, a.columns);
  for (let i = 0; i < kept; i++)
    for (let j = 0; j < a.columns; j++) components.data[i * a.columns + j] = v.data[j * v.columns + i]!;
  return { values: s.slice(0, kept), components };
}

/** Steps of the iteration below: as many as PEFT takes. */
const steps = 4;

/** Singular values within a random subspace turned towards the leading ones (Halko et al. 2011, algorithms 4.4 and 5.1). */
function subspaceSvd(a: Matrix, width: number): Svd {
  const at = transpose(a);
  const start = createRandom(0).fork('subspace').normal([a.columns, width]);
  let { q } = qr(matmul(a, matrix(a.columns, width, start.data as Float32Array)));
  // One QR a step: what A Aᵀ shrinks below rounding is below the least value kept.
  for (let i = 0; i < steps; i++) ({ q } = qr(matmul(a, matmul(at, q))));
  return svd(matmul(transpose(q), a)); // U stays within the subspace, and only V is asked for
}

/** Whether an update has turned none of the first `rank` directions further than the cosine `tau`. */
export function settled(before: Pca, now: Pca, rank: number, tau: number): boolean {
  const width = now.components.columns;
  for (let i = 0; i < rank; i++) {
    let cosine = 0;
    if (i < before.components.rows)
      for (let j = 0; j < width; j++)
        cosine += before.components.data[i * width + j]! * now.components.data[i * width + j]!;
    if (Math.abs(cosine) < tau) return false;
  }
  return true;
}
