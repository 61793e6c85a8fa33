import { byteLength, defineKind, f32, lowRank, lowRankTerm, PeftError, type Term, tensorRef } from '@peftjs/core';
import { fingerprintProblems, problemsOf } from './check.js';
import { load } from './coefficients.js';
import { combine } from './math.js';
import { basesOf, startOf } from './source.js';
import { describe } from './term.js';

const scaleOf = ({ meta }: Term): number => Number(meta.scale);

/** The coefficients of a term and its seed, once they are known to mean what they meant when they were trained. */
export async function coefficientsOf(term: Term, shape: readonly number[]) {
  const problems = problemsOf(term, shape);
  if (problems.length === 0) problems.push(...fingerprintProblems(term, shape));
  if (problems.length > 0)
    throw new PeftError('ADAPTER_INVALID', `An update of kind ${term.kind} cannot be used: ${problems.join('; ')}.`, {
      details: { problems },
    });
  const d = describe(term, shape);
  const saved = (name: string) => ({ tensor: term.tensors[name]!, step: Number(term.meta[`${name}Step`]) });
  const [alpha, beta] = await Promise.all(['alpha', 'beta'].map((name) => load(saved(name), d.bases, d.bits)));
  return { ...d, alpha: alpha!, beta: beta!, scale: scaleOf(term) };
}

/**
 * The same update as a low-rank term: its factors, made once.
 * @throws PeftError ADAPTER_INVALID when the seed is missing or does not give the matrices it was trained with
 */
export async function lowRankOf(term: Term, shape: readonly number[]): Promise<Term> {
  const { seed, alpha, beta, scale, transposed, ...d } = await coefficientsOf(term, shape);
  const { a, b } = basesOf(seed, d, d);
  const A = combine(a, alpha, startOf(seed, d, d));
  const B = combine(b, beta);
  const factors = { a: tensorRef(f32([d.r, d.in], A)), b: tensorRef(f32([d.out, d.r], B)) };
  return lowRankTerm(factors, { scale, transposed });
}

/** Kilobytes that stand for a low-rank update: coefficients of random matrices that follow from a seed. */
export const seededLowRank = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'seeded-low-rank',
  dense: async (term, shape) => lowRank.dense(await lowRankOf(term, shape), shape),
  slots: async (term, shape) => lowRank.slots!(await lowRankOf(term, shape), shape),
  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: scaleOf(term) * factor } }),
  bytes: ({ tensors }) => Object.values(tensors).reduce((sum, ref) => sum + byteLength(ref.dtype, ref.shape), 0),
  problems: problemsOf,
  check: async (term, shape) => fingerprintProblems(term, shape),
});
