import { scaled, toF32 } from '../../tensor/convert.js';
import { elementCount } from '../../tensor/dtype.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, readTensor, sameExtents, scaleOf } from './common.js';

/** ΔW = scale · delta, in the parameter's own shape and layout. */
export const denseTerm = (delta: TensorRef, scale = 1): Term => ({
  kind: 'dense',
  tensors: { delta },
  meta: { scale },
});

export const dense = defineKind({
  spec: 'v1',
  kind: 'dense',

  async dense(term, shape) {
    return { ...scaled(await readTensor(term, 'delta'), scaleOf(term)), shape: [...shape] };
  },

  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: scaleOf(term) * factor } }),

  async add(terms, shape) {
    const sum = new Float64Array(elementCount(shape));
    for (const term of terms) {
      const s = scaleOf(term);
      const data = toF32(await readTensor(term, 'delta')).data;
      for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + s * data[i]!;
    }
    return denseTerm(tensorRef(f32(shape, sum)));
  },

  bytes: bytesOf,

  problems(term, shape) {
    const delta = term.tensors.delta;
    if (!delta) return ['a dense term needs a tensor "delta"'];
    const out = sameExtents(delta.shape, shape) ? [] : [`its delta is [${delta.shape}], the parameter is [${shape}]`];
    if (!Number.isFinite(scaleOf(term))) out.push(`its scale is ${term.meta.scale}`);
    return out;
  },
});
