import {
  defineKind,
  f32,
  lowRank,
  lowRankTerm,
  type Orientation,
  type Tensor,
  type Term,
  tensor,
  tensorRef,
} from '@peftjs/core';
import { matrix, transpose } from '@peftjs/core/tensor';
import { dequantise, quantiseSymmetric } from '../int8/quantise.js';
import { bytesOfTerm, invalid, partProblems, readPart, readScales, scaleOf, scaleTerm } from '../terms.js';

/**
 * Factors a [r, in] and b [out, r] in eight bits, with a scale for each direction of both. `b` is stored as [r, out], so
 * that a direction is a row.
 */
export function int8FactorsOf(a: Tensor, b: Tensor, orientation: Orientation): Term {
  const [out, r] = b.shape as readonly [number, number];
  const inside = a.shape[1]!;
  const A = quantiseSymmetric(matrix(r, inside, a.data as Float32Array));
  const B = quantiseSymmetric(transpose(matrix(out, r, b.data as Float32Array)));
  return {
    kind: 'low-rank-int8',
    tensors: {
      a: tensorRef(tensor('i8', [r, inside], A.codes)),
      b: tensorRef(tensor('i8', [r, out], B.codes)),
      scaleA: tensorRef(tensor('f32', [r], A.scale)),
      scaleB: tensorRef(tensor('f32', [r], B.scale)),
    },
    meta: { scale: 1, transposed: orientation.transposed === true, embedding: orientation.embedding === true },
  };
}

/** The same update as a low-rank term of core, in float32. */
export async function widened(term: Term): Promise<Term> {
  const rows = async (name: string, scale: string) => {
    const { shape, data } = await readPart(term, name);
    const columns = shape[1] ?? 0;
    return { columns, data: dequantise({ codes: data as Int8Array, scale: await readScales(term, scale) }, columns) };
  };
  const [a, b] = [await rows('a', 'scaleA'), await rows('b', 'scaleB')];
  const r = term.tensors.a!.shape[0]!;
  const { transposed, embedding } = term.meta;
  return lowRankTerm(
    {
      a: tensorRef(f32([r, a.columns], a.data)),
      b: tensorRef(f32([b.columns, r], transpose(matrix(r, b.columns, b.data)).data)),
    },
    { scale: scaleOf(term), transposed: transposed === true, embedding: embedding === true },
  );
}

/** ΔW = B A with factors of eight bits. Served unmerged like any low-rank update. */
export const lowRankInt8 = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'low-rank-int8',
  dense: async (term, shape) => lowRank.dense(await widened(term), shape),
  slots: async (term, shape) => lowRank.slots!(await widened(term), shape),
  scale: scaleTerm,
  bytes: bytesOfTerm,

  problems(term, shape) {
    const r = term.tensors.a?.shape[0] ?? 0;
    const [out, inside] = term.meta.transposed === true ? [shape[1], shape[0]] : [shape[0], shape[1]];
    if (shape.length !== 2) return [`it changes a matrix, the parameter is [${shape}]`];
    return partProblems(term, {
      a: { dtype: 'i8', shape: [r, inside!] },
      b: { dtype: 'i8', shape: [r, out!] },
      scaleA: { dtype: 'f32', shape: [r] },
      scaleB: { dtype: 'f32', shape: [r] },
    });
  },
});

/** @throws PeftError ADAPTER_INVALID for scales that are not finite, and for factors without a direction */
export async function checkFactors(term: Term): Promise<void> {
  if (term.tensors.a?.shape[0] === 0) throw invalid(term, 'has rank 0');
  for (const name of Object.keys(term.tensors)) if (name.startsWith('scale')) await readScales(term, name);
}
