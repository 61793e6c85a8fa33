import { sameExtents } from '../../delta/kinds/common.js';
import { digestTensor } from '../../files/digest.js';
import type { TensorRef } from '../../tensor/tensor.js';

/** Whether two tensors are the same to the bit. */
export const sameNumbers = async (a: TensorRef, b: TensorRef): Promise<boolean> =>
  a === b ||
  (a.dtype === b.dtype && sameExtents(a.shape, b.shape) && (await digestTensor(a)) === (await digestTensor(b)));
