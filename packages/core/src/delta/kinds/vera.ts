import { toF32 } from '../../tensor/convert.js';
import { isFloat } from '../../tensor/dtype.js';
import { f32 } from '../../tensor/refs.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { defineKind } from '../define.js';
import type { Term } from '../delta.js';
import { bytesOf, readTensor, scaleOf, scaleProblems, strayTensors, tensorProblems } from './common.js';

export interface VeraTensors {
  /** [r, inputs]: the first `in` columns act. */
  readonly A: TensorRef;
  /** [outputs, r]: the first `out` rows act. */
  readonly B: TensorRef;
  /** [r] */
  readonly d: TensorRef;
  /** [out] */
  readonly b: TensorRef;
}

export interface VeraTermOptions {
  readonly scale?: number;
  /** The weight lies as (in, out). */
  readonly transposed?: boolean;
}

/** ΔW = scale · diag(b) B diag(d) A, or its transpose (Kopiczko et al. 2024, eq. 2), A and B shared by many modules. */
export const veraTerm = (tensors: VeraTensors, { scale = 1, transposed = false }: VeraTermOptions = {}): Term => ({
  kind: 'vera',
  tensors: { ...tensors },
  meta: { scale, transposed },
});

/** Out and in of a parameter. */
const sidesOf = ({ meta }: Term, shape: readonly number[]): readonly [number, number] =>
  meta.transposed === true ? [shape[1]!, shape[0]!] : [shape[0]!, shape[1]!];

async function numbers(term: Term) {
  const [A, B, d, b] = await Promise.all(
    (['A', 'B', 'd', 'b'] as const).map(async (name) => toF32(await readTensor(term, name))),
  );
  return { A: A!.data, B: B!.data, d: d!.data, b: b!.data, r: d!.data.length, width: A!.shape[1]! };
}

export const vera = defineKind({
  spec: 'v1',
  kind: 'vera',

  async dense(term, shape) {
    const { A, B, d, b, r, width } = await numbers(term);
    const [m, n] = sidesOf(term, shape);
    const transposed = term.meta.transposed === true;
    const data = new Float32Array(m * n);
    const row = new Float64Array(n);
    for (let o = 0; o < m; o++) {
      row.fill(0);
      for (let k = 0; k < r; k++) {
        const c = B[o * r + k]! * d[k]!;
        for (let i = 0; i < n; i++) row[i] = row[i]! + c * A[k * width + i]!;
      }
      const s = scaleOf(term) * b[o]!;
      for (let i = 0; i < n; i++) data[transposed ? i * m + o : o * n + i] = s * row[i]!;
    }
    return { dtype: 'f32', shape: [...shape], data };
  },

  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: scaleOf(term) * factor } }),

  bytes: bytesOf,

  problems(term, shape) {
    if (shape.length !== 2) return [`it changes a matrix, the parameter is [${shape}]`];
    const { A, B, d } = term.tensors;
    const [m, n] = sidesOf(term, shape);
    const r = d?.shape[0];
    const out = [...strayTensors(term, ['A', 'B', 'd', 'b']), ...scaleProblems(term)];
    for (const [name, wanted] of [
      ['A', [r, undefined]],
      ['B', [undefined, r]],
      ['d', [undefined]],
      ['b', [m]],
    ] as const)
      out.push(...tensorProblems(term, name, { dtypes: isFloat, shape: wanted }));
    if (A && A.shape[1]! < n) out.push(`its tensor "A" is for ${A.shape[1]} inputs, the module has ${n}`);
    if (B && B.shape[0]! < m) out.push(`its tensor "B" is for ${B.shape[0]} outputs, the module has ${m}`);
    return out;
  },

  /** d goes into A and b into B; x a b = x ΔWᵀ. */
  async slots(term, shape) {
    const { A, B, d, b, r, width } = await numbers(term);
    const [m, n] = sidesOf(term, shape);
    const s = scaleOf(term);
    const left = Float32Array.from(
      { length: n * r },
      (_, at) => d[at % r]! * A[(at % r) * width + Math.floor(at / r)]!,
    );
    const right = Float32Array.from(
      { length: r * m },
      (_, at) => s * b[at % m]! * B[(at % m) * r + Math.floor(at / m)]!,
    );
    return { a: f32([n, r], left), b: f32([r, m], right), rank: r };
  },
});
