import { defineKind, type Term, tensor, tensorRef } from '@peftjs/core';
import { extentsOf } from '../matrix.js';
import { bytesOfTerm, partProblems, readPart, readScales, scaleOf, scaleTerm } from '../terms.js';
import { dequantise, type Int8Rows } from './quantise.js';

/** Quantised rows of a parameter as a term. */
export const int8Term = ({ codes, scale, zero }: Int8Rows, columns: number): Term => ({
  kind: 'int8',
  tensors: {
    codes: tensorRef(tensor(zero ? 'u8' : 'i8', [scale.length, columns], codes)),
    scale: tensorRef(tensor('f32', [scale.length], scale)),
    ...(zero && { zero: tensorRef(tensor('u8', [zero.length], zero)) }),
  },
  meta: { scale: 1 },
});

/** ΔW = scale (codes − zero), a scale a row; `zero` is absent where the range is symmetric. */
export const int8Kind = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'int8',

  async dense(term, shape) {
    const { columns } = extentsOf(shape);
    const s = scaleOf(term);
    const scale = (await readScales(term, 'scale')).map((x) => x * s);
    const codes = (await readPart(term, 'codes')).data as Int8Array;
    const zero = term.tensors.zero && ((await readPart(term, 'zero')).data as Uint8Array);
    return tensor('f32', shape, dequantise({ codes, scale, ...(zero && { zero }) }, columns));
  },

  scale: scaleTerm,
  bytes: bytesOfTerm,

  problems(term, shape) {
    const { rows, columns } = extentsOf(shape);
    const asymmetric = term.tensors.zero !== undefined;
    return partProblems(term, {
      codes: { dtype: asymmetric ? 'u8' : 'i8', shape: [rows, columns] },
      scale: { dtype: 'f32', shape: [rows] },
      ...(asymmetric && { zero: { dtype: 'u8', shape: [rows] } }),
    });
  },
});

/** @throws PeftError ADAPTER_INVALID for scales that are not finite */
export async function checkInt8(term: Term): Promise<void> {
  await readScales(term, 'scale');
}
