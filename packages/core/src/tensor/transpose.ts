import { f32 } from './refs.js';
import type { Tensor } from './tensor.js';

/** A matrix [n, m] from one [m, n]. */
export function transposed({ shape, data }: Tensor & { readonly data: Float32Array }): ReturnType<typeof f32> {
  const [m = 0, n = 0] = shape;
  const out = new Float32Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = data[i * n + j]!;
  return f32([n, m], out);
}
