import { defineKind, type Term, tensor, tensorRef } from '@peftjs/core';
import { extentsOf } from '../matrix.js';
import { bytesOfTerm, invalid, partProblems, readPart, readScales, scaleOf, scaleTerm } from '../terms.js';
import { expandSigns, type Signs, spareBitsAreZero, wordsOf } from './signs.js';

/** A bit plane of a parameter with `rows` rows as a term. `perRow` tells one scale a row from one for all. */
export const signsTerm = ({ mask, scale }: Signs, rows: number, perRow: boolean): Term => ({
  kind: 'signs',
  tensors: {
    mask: tensorRef(tensor('i32', [rows === 0 ? 0 : mask.length / rows, rows], mask)),
    scale: tensorRef(tensor('f32', perRow ? [rows] : [], scale)),
  },
  meta: { scale: 1 },
});

/** ΔW = ±α: one bit for every element, and a scale for the parameter or for each of its rows. */
export const signs = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'signs',

  async dense(term, shape) {
    const { rows, columns } = extentsOf(shape);
    const mask = (await readPart(term, 'mask')).data as Int32Array;
    const s = scaleOf(term);
    const scale = (await readScales(term, 'scale')).map((x) => x * s);
    return tensor('f32', shape, expandSigns({ mask, scale }, rows, columns));
  },

  scale: scaleTerm,
  bytes: bytesOfTerm,

  problems(term, shape) {
    const { rows, columns } = extentsOf(shape);
    const perRow = term.tensors.scale?.shape.length === 1;
    return partProblems(term, {
      mask: { dtype: 'i32', shape: [wordsOf(columns), rows] },
      scale: { dtype: 'f32', shape: perRow ? [rows] : [] },
    });
  },
});

/** @throws PeftError ADAPTER_INVALID for scales that are not finite and bits that stand for no column */
export async function checkSigns(term: Term, shape: readonly number[]): Promise<void> {
  const { rows, columns } = extentsOf(shape);
  const mask = (await readPart(term, 'mask')).data as Int32Array;
  if (!spareBitsAreZero(mask, rows, columns)) throw invalid(term, `has bits set beyond its ${columns} columns`);
  await readScales(term, 'scale');
}
