import { elementCount } from '../../tensor/dtype.js';
import { tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, copyOf, notAdditive, readTensor, strayTensors, tensorProblems } from './common.js';

/**
 * W' = W ⊙ S (S₁ of DSEE, Chen et al. 2023; PST, Li et al. 2022), a parameter of any shape. bits u8 [⌈elements / 8⌉]:
 * element i is bit i mod 8, the lowest first, of byte ⌊i / 8⌋; 1 keeps; bits behind the last element are 0.
 */
export const maskTerm = (bits: TensorRef): Term => ({ kind: 'mask', tensors: { bits }, meta: {} });

/** The bits of a mask whose elements are 0 or not. */
export function packMask(keep: ArrayLike<number>): TensorRef {
  const data = new Uint8Array(Math.ceil(keep.length / 8));
  for (let i = 0; i < keep.length; i++) if (keep[i] !== 0) data[i >> 3] = data[i >> 3]! | (1 << (i & 7));
  return tensorRef({ dtype: 'u8', shape: [data.length], data });
}

const bytesNeeded = (shape: readonly number[]): number => Math.ceil(elementCount(shape) / 8);

export const mask = defineKind({
  spec: 'v1',
  kind: 'mask',
  ...notAdditive('mask'),
  keepsZero: true,

  async apply(weight, term) {
    const bits = (await readTensor(term, 'bits')).data as Uint8Array;
    const out = copyOf(weight);
    for (let i = 0; i < out.data.length; i++) if (((bits[Math.floor(i / 8)]! >> (i % 8)) & 1) === 0) out.data[i] = 0;
    return out;
  },

  bytes: bytesOf,

  problems: (term, shape) => [
    ...strayTensors(term, ['bits']),
    ...tensorProblems(term, 'bits', { dtypes: (dtype) => dtype === 'u8', shape: [bytesNeeded(shape)] }),
  ],

  async check(term, shape) {
    const bits = (await readTensor(term, 'bits')).data as Uint8Array;
    const used = elementCount(shape) % 8;
    const stray = used === 0 ? 0 : bits.at(-1)! >> used;
    return stray === 0 ? [] : ['its last byte has bits behind the last element'];
  },
});
