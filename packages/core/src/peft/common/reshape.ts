import { tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';

/** The same numbers under another shape of as many elements. */
export const reshaped = (ref: TensorRef, shape: readonly number[]): TensorRef => ({
  dtype: ref.dtype,
  shape,
  async read(range) {
    const { dtype, data } = await ref.read(range?.signal ? { signal: range.signal } : {});
    return tensorRef({ dtype, shape, data }).read(range);
  },
});
