import { PeftError } from '../../errors.js';
import { byteLength } from '../../tensor/dtype.js';
import { f32 } from '../../tensor/refs.js';
import type { DType, Tensor } from '../../tensor/tensor.js';
import type { Kind, Term } from '../delta.js';

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

/** What a kind that is not W + ΔW answers where a summand is asked for. */
export function notAdditive(kind: string): Pick<Kind, 'additive' | 'dense' | 'scale'> {
  const refuse = (): never => {
    throw new PeftError(
      'DELTA_CONFLICT',
      `An update of kind ${kind} is not a sum W + ΔW: it cannot be scaled, averaged or written out. Merge it into its base first.`,
      { details: { kind } },
    );
  };
  return { additive: false, dense: async () => refuse(), scale: refuse };
}

/** A copy of a weight in its own precision, to be changed. */
export function copyOf(weight: Tensor): Tensor & { readonly data: Float32Array | Float64Array } {
  return { ...weight, data: (weight.data as Float32Array).slice() };
}

/** Problems of a tensor that must be there, with one of these dtypes and this shape. */
export function tensorProblems(
  { kind, tensors }: Term,
  name: string,
  { dtypes, shape }: { readonly dtypes: (dtype: DType) => boolean; readonly shape: readonly (number | undefined)[] },
): string[] {
  const ref = tensors[name];
  if (!ref) return [`a ${kind} term needs a tensor "${name}"`];
  const out: string[] = [];
  if (!dtypes(ref.dtype)) out.push(`its tensor "${name}" is ${ref.dtype}`);
  const fits = ref.shape.length === shape.length && shape.every((n, i) => n === undefined || n === ref.shape[i]);
  if (!fits) out.push(`its tensor "${name}" is [${ref.shape}], needed is [${shape.map((n) => n ?? 'any')}]`);
  return out;
}

/** The problem of a scale that is no number. */
export const scaleProblems = (term: Term): string[] =>
  Number.isFinite(scaleOf(term)) ? [] : [`its scale is ${term.meta.scale}`];

/** Whether the term has only the tensors of its kind. */
export const strayTensors = ({ kind, tensors }: Term, known: readonly string[]): string[] =>
  Object.keys(tensors)
    .filter((name) => !known.includes(name))
    .map((name) => `a ${kind} term has no tensor "${name}"`);

/** A matrix [k, n] with a row of zeros behind it, for all that has no row: [k + 1, n]. */
export function withZeroRow({ shape, data }: Tensor): Tensor {
  const [count, width] = shape as [number, number];
  const out = new Float32Array((count + 1) * width);
  out.set(data as Float32Array);
  return f32([count + 1, width], out);
}
