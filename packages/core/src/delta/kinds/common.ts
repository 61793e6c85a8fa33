import { PeftError } from '../../errors.js';
import { byteLength } from '../../tensor/dtype.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Term } from '../delta.js';

/** The factor that a term carries beside its tensors; 1 when it carries none. */
export const scaleOf = (term: Term): number => (term.meta.scale === undefined ? 1 : Number(term.meta.scale));

export const sameExtents = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((extent, i) => extent === b[i]);

export const bytesOf = (term: Term): number =>
  Object.values(term.tensors).reduce((sum, ref) => sum + byteLength(ref.dtype, ref.shape), 0);

/** Reads a tensor of a term. @throws PeftError ADAPTER_INVALID when the term has none of that name */
export async function readTensor(term: Term, name: string): Promise<Tensor> {
  const ref = term.tensors[name];
  if (!ref) throw new PeftError('ADAPTER_INVALID', `A ${term.kind} term has no tensor "${name}".`);
  return ref.read();
}

/** The same for a matrix. */
export async function read2d(term: Term, name: string): Promise<Tensor> {
  const tensor = await readTensor(term, name);
  if (tensor.shape.length === 2) return tensor;
  throw new PeftError('ADAPTER_INVALID', `Tensor "${name}" of a ${term.kind} term is [${tensor.shape}], not a matrix.`);
}
