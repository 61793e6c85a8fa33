import { PeftError } from '../../errors.js';
import { f32 } from '../../tensor/refs.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Heads of the base, as its config.json has them. */
export interface HeadCounts {
  readonly heads: number;
  readonly kvHeads: number;
}

/**
 * Reorders the rows of a query or key factor [out, r] between the two layouts of rotary embeddings. Within each head,
 * row i of the first half and row i of the second (Hugging Face) stand side by side in ggml:
 * reshape [h, 2, d/2, r], swap axes 1 and 2, reshape back; the way back swaps the same axes of [h, d/2, 2, r].
 * @throws PeftError ADAPTER_MISMATCH when the rows are not `heads` heads of an even size
 */
export function permuteRows(
  { shape, data }: Tensor & { readonly data: Float32Array },
  heads: number,
  to: 'ggml' | 'hf',
  name: string,
): ReturnType<typeof f32> {
  const [rows = 0, r = 0] = shape;
  const half = rows / heads / 2;
  if (!Number.isInteger(half))
    throw new PeftError(
      'ADAPTER_MISMATCH',
      `"${name}" has ${rows} rows, which are not ${heads} heads of an even size.`,
    );
  const out = new Float32Array(rows * r);
  for (let h = 0; h < heads; h++) {
    for (let part = 0; part < 2; part++) {
      for (let i = 0; i < half; i++) {
        const hf = (2 * h + part) * half + i;
        const ggml = (h * half + i) * 2 + part;
        const [from, into] = to === 'ggml' ? [hf, ggml] : [ggml, hf];
        out.set(data.subarray(from * r, (from + 1) * r), into * r);
      }
    }
  }
  return f32([rows, r], out);
}
