import { toF32 } from '../../tensor/convert.js';
import { f32, tensorRef } from '../../tensor/refs.js';
import type { Tensor, TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, read2d, sameExtents, scaleOf } from './common.js';

export interface LowRankOptions {
  readonly scale: number;
  /** The weight lies as (in, out): conv1d, and embeddings, whose rows are the input. */
  readonly transposed?: boolean;
  /** The weight is a table of rows chosen by ids: files name its factors otherwise. */
  readonly embedding?: boolean;
}

/** ΔW = scale · B A with a [r, in] and b [out, r], or its transpose (Hu et al. 2021, eq. 3). */
export const lowRankTerm = (
  tensors: { readonly a: TensorRef; readonly b: TensorRef },
  { scale, transposed = false, embedding = false }: LowRankOptions,
): Term => ({ kind: 'low-rank', tensors, meta: { scale, transposed: transposed || embedding, embedding } });

export const lowRank = defineKind({
  spec: 'v1',
  kind: 'low-rank',

  async dense(term, shape) {
    const { a, b, r, m, n } = await factors(term);
    const s = scaleOf(term);
    const data = new Float32Array(m * n);
    const row = new Float64Array(n);
    const transposed = term.meta.transposed === true;
    for (let o = 0; o < m; o++) {
      row.fill(0);
      for (let k = 0; k < r; k++) {
        const c = b[o * r + k]!;
        if (c !== 0) for (let i = 0; i < n; i++) row[i] = row[i]! + c * a[k * n + i]!;
      }
      for (let i = 0; i < n; i++) data[transposed ? i * m + o : o * n + i] = s * row[i]!;
    }
    return { dtype: 'f32', shape: [...shape], data };
  },

  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: scaleOf(term) * factor } }),

  /** s₁B₁A₁ + s₂B₂A₂ = s [B₁ (s₂/s)B₂] [A₁; A₂]: factors side by side, ranks add. */
  async add(terms) {
    const first = terms[0]!;
    const parts = await Promise.all(terms.map((term) => factors(term, first.meta.transposed)));
    const s = scaleOf(first) || 1;
    const { m, n } = parts[0]!;
    const r = parts.reduce((sum, part) => sum + part.r, 0);
    const a = new Float32Array(r * n);
    const b = new Float32Array(m * r);
    let at = 0;
    parts.forEach((part, i) => {
      const ratio = scaleOf(terms[i]!) / s;
      a.set(part.a, at * n);
      for (let o = 0; o < m; o++) for (let k = 0; k < part.r; k++) b[o * r + at + k] = ratio * part.b[o * part.r + k]!;
      at += part.r;
    });
    const tensors = { a: tensorRef(f32([r, n], a)), b: tensorRef(f32([m, r], b)) };
    return { ...first, tensors, meta: { ...first.meta, scale: s } };
  },

  bytes: bytesOf,

  problems(term, shape) {
    const { a, b } = term.tensors;
    if (!a || !b)
      return [`a low-rank term needs tensors a and b, it has ${Object.keys(term.tensors).join(', ') || 'none'}`];
    const out: string[] = [];
    if (a.shape.length !== 2 || b.shape.length !== 2)
      out.push(`a [${a.shape}] and b [${b.shape}] must have two axes: a [rank, in], b [out, rank]`);
    else if (a.shape[0] !== b.shape[1])
      out.push(`a [${a.shape}] and b [${b.shape}] disagree on the rank: ${a.shape[0]} against ${b.shape[1]}`);
    else {
      const own = [b.shape[0]!, a.shape[1]!];
      const made = term.meta.transposed === true ? own.reverse() : own;
      if (!sameExtents(made, shape)) out.push(`its factors make a [${made}] matrix, the parameter is [${shape}]`);
    }
    if (!Number.isFinite(scaleOf(term))) out.push(`its scale is ${term.meta.scale}`);
    return out;
  },

  /** The scale goes into b; a lies as [in, r], so that x a b = x ΔWᵀ. */
  async slots(term) {
    const { a, b, r, m, n } = await factors(term);
    const s = scaleOf(term);
    const left = new Float32Array(n * r);
    const right = new Float32Array(r * m);
    for (let k = 0; k < r; k++) {
      for (let i = 0; i < n; i++) left[i * r + k] = a[k * n + i]!;
      for (let o = 0; o < m; o++) right[k * m + o] = s * b[o * r + k]!;
    }
    return { a: f32([n, r], left), b: f32([r, m], right), rank: r };
  },
});

/**
 * The factors as float32, with r, m = out and n = in.
 * @param wanted as which layout: (B A)ᵀ = Aᵀ Bᵀ, so the other one swaps the sides
 */
async function factors(term: Term, wanted = term.meta.transposed) {
  const [a, b] = await Promise.all([read2d(term, 'a'), read2d(term, 'b')]);
  if (wanted !== term.meta.transposed)
    return { a: turned(b), b: turned(a), r: a.shape[0]!, n: b.shape[0]!, m: a.shape[1]! };
  return { a: toF32(a).data, b: toF32(b).data, r: a.shape[0]!, n: a.shape[1]!, m: b.shape[0]! };
}

function turned(tensor: Tensor): Float32Array {
  const [rows, columns] = tensor.shape as [number, number];
  const { data } = toF32(tensor);
  const out = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[j * rows + i] = data[i * columns + j]!;
  return out;
}
