import { toF32 } from '../../tensor/convert.js';
import { isFloat } from '../../tensor/dtype.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, copyOf, notAdditive, readTensor, strayTensors, tensorProblems } from './common.js';

export interface ScalingOptions {
  /** What the vector multiplies: outputs of the module (and its bias, which needs a term of its own), or inputs. */
  readonly side: 'output' | 'input';
  /** The weight lies as (in, out). */
  readonly transposed?: boolean;
}

/** (IA)³ (Liu et al. 2022): W' = diag(l) W for outputs, W diag(l) for inputs; a bias l ⊙ b. vector l [out] or [in]. */
export const scalingTerm = (vector: TensorRef, { side, transposed = false }: ScalingOptions): Term => ({
  kind: 'scaling',
  tensors: { vector },
  meta: { side, transposed },
});

/** The axis of the parameter along which the vector lies. */
const axisOf = ({ meta }: Term, shape: readonly number[]): number =>
  shape.length === 1 || (meta.side === 'output') !== (meta.transposed === true) ? 0 : 1;

export const scaling = defineKind({
  spec: 'v1',
  kind: 'scaling',
  ...notAdditive('scaling'),
  keepsZero: true,

  async apply(weight, term, shape) {
    const l = toF32(await readTensor(term, 'vector')).data;
    const out = copyOf(weight);
    const columns = shape.length === 1 ? 1 : shape[1]!;
    const rows = axisOf(term, shape) === 0;
    for (let i = 0; i < out.data.length; i++)
      out.data[i] = out.data[i]! * l[rows ? Math.floor(i / columns) : i % columns]!;
    return out;
  },

  /** Σ wᵢ diag(lᵢ) W = diag(Σ wᵢ lᵢ) W. */
  async mean(terms, weights) {
    const [first] = terms as [Term];
    if (terms.some(({ meta }) => meta.side !== first.meta.side)) return 'is scaled at inputs and at outputs';
    const vectors = await Promise.all(terms.map(async (term) => toF32(await readTensor(term, 'vector')).data));
    const sum = vectors[0]!.map((_, i) => vectors.reduce((all, vector, k) => all + weights[k]! * vector[i]!, 0));
    return { ...first, tensors: { vector: tensorRef(f32([sum.length], sum)) } };
  },

  bytes: bytesOf,

  problems(term, shape) {
    if (shape.length < 1 || shape.length > 2) return [`it scales inputs or outputs, the parameter is [${shape}]`];
    const out = strayTensors(term, ['vector']);
    if (term.meta.side !== 'output' && term.meta.side !== 'input')
      out.push(`its side is ${term.meta.side}, it can be output or input`);
    if (term.meta.side === 'input' && shape.length === 1) out.push('a vector has no inputs to scale');
    const extent = shape[axisOf(term, shape)];
    return [...out, ...tensorProblems(term, 'vector', { dtypes: isFloat, shape: [extent] })];
  },

  async attach({ term, x, ids, before, tensor }, ops) {
    const l = tensor('vector', toF32(await readTensor(term, 'vector')));
    if (term.meta.side === 'output') return ops.mul(await before(x), l);
    // An id is a one at its place: scaled, its row of the table is.
    if (ids) return ops.mul(await before(x), ops.unsqueeze(ops.gather(l, x), [1]));
    return before(ops.mul(x, l));
  },
});
