import {
  defineKind,
  elementCount,
  f32,
  type Kind,
  lowRank,
  lowRankTerm,
  PeftError,
  type TensorRef,
  type Term,
  tensor,
  tensorRef,
} from '@peftjs/core';
import type { Scaled } from './arithmetic.js';
import { type Ternary, ternaryOf, toF32, wordCount } from './words.js';

/** A magnitude as files and kernels hold it. */
const single = Math.fround;

const maskRef = (words: Uint32Array): TensorRef => tensorRef(tensor('u32', [words.length], words));

const numberOf = (term: Term, name: string): number => Number(term.meta[name] ?? Number.NaN);

async function masks(term: Term, plus: string, minus: string, n: number): Promise<Ternary> {
  const [p, m] = [term.tensors[plus], term.tensors[minus]];
  if (!p || !m) throw new PeftError('ADAPTER_INVALID', `A ${term.kind} term has no masks "${plus}" and "${minus}".`);
  const [a, b] = await Promise.all([p.read(), m.read()]);
  return ternaryOf(n, a.data as Uint32Array, b.data as Uint32Array);
}

function maskProblems({ tensors }: Term, names: readonly string[], n: number): string[] {
  const words = wordCount(n);
  return names.flatMap((name) => {
    const ref = tensors[name];
    if (!ref) return [`it needs a mask "${name}"`];
    if (ref.dtype === 'u32' && ref.shape.length === 1 && ref.shape[0] === words) return [];
    return [`its mask "${name}" is ${ref.dtype} [${ref.shape}], ${n} elements take u32 [${words}]`];
  });
}

const finite = (term: Term, names: readonly string[]): string[] =>
  names.flatMap((name) => (Number.isFinite(numberOf(term, name)) ? [] : [`its ${name} is ${term.meta[name]}`]));

const maskBytes = ({ tensors }: Term): number =>
  Object.values(tensors).reduce((sum, { shape }) => sum + 4 * elementCount(shape), 0);

/** ΔW = scale · T with T in {-1, 0, 1}, in the parameter's own shape and layout. 2 bits a number. */
export const ternaryTerm = ({ t, s }: Scaled): Term => ({
  kind: 'ternary',
  tensors: { plus: maskRef(t.plus), minus: maskRef(t.minus) },
  meta: { scale: single(s) },
});

/** The numbers of a ternary term. @throws PeftError ADAPTER_INVALID when its masks are not in order */
export const readTernary = async (term: Term, shape: readonly number[]): Promise<Scaled> => ({
  t: await masks(term, 'plus', 'minus', elementCount(shape)),
  s: numberOf(term, 'scale'),
});

export const ternary: Kind = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'ternary',
  async dense(term, shape) {
    const { t, s } = await readTernary(term, shape);
    return f32(shape, toF32(t, s));
  },
  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: single(numberOf(term, 'scale') * factor) } }),
  bytes: maskBytes,
  problems: (term, shape) => [
    ...maskProblems(term, ['plus', 'minus'], elementCount(shape)),
    ...finite(term, ['scale']),
  ],
});

/** The factors of a low-rank update, each with a magnitude of its own. */
export interface TernaryFactors {
  readonly a: Scaled; // r × in
  readonly b: Scaled; // out × r
  readonly rank: number;
  readonly scale: number;
  readonly transposed: boolean;
  readonly embedding: boolean;
}

/** ΔW = scale · (b.s Tᵇ)(a.s Tᵃ), or its transpose. */
export const ternaryLowRankTerm = ({ a, b, rank, scale, transposed, embedding }: TernaryFactors): Term => ({
  kind: 'ternary-low-rank',
  tensors: {
    aPlus: maskRef(a.t.plus),
    aMinus: maskRef(a.t.minus),
    bPlus: maskRef(b.t.plus),
    bMinus: maskRef(b.t.minus),
  },
  meta: { scale, a: single(a.s), b: single(b.s), rank, transposed, embedding },
});

/** Extents of the factors for a parameter of this shape. */
export function extents(term: Term, shape: readonly number[]): { in: number; out: number; rank: number } {
  const [rows = 0, columns = 0] = shape;
  const rank = numberOf(term, 'rank');
  return term.meta.transposed === true ? { in: rows, out: columns, rank } : { in: columns, out: rows, rank };
}

/** The factors of such a term. @throws PeftError ADAPTER_INVALID when its masks are not in order */
export async function readFactors(term: Term, shape: readonly number[]): Promise<TernaryFactors> {
  const { in: n, out: m, rank } = extents(term, shape);
  const [a, b] = await Promise.all([
    masks(term, 'aPlus', 'aMinus', rank * n),
    masks(term, 'bPlus', 'bMinus', m * rank),
  ]);
  return {
    a: { t: a, s: numberOf(term, 'a') },
    b: { t: b, s: numberOf(term, 'b') },
    rank,
    scale: numberOf(term, 'scale'),
    transposed: term.meta.transposed === true,
    embedding: term.meta.embedding === true,
  };
}

/** The same update with float factors. */
export async function toLowRank(term: Term, shape: readonly number[]): Promise<Term> {
  const { in: n, out: m } = extents(term, shape);
  const { a, b, rank, scale, transposed, embedding } = await readFactors(term, shape);
  const factors = {
    a: tensorRef(f32([rank, n], toF32(a.t, a.s))),
    b: tensorRef(f32([m, rank], toF32(b.t, b.s))),
  };
  return lowRankTerm(factors, { scale, transposed, embedding });
}

export const ternaryLowRank: Kind = /* @__PURE__ */ defineKind({
  spec: 'v1',
  kind: 'ternary-low-rank',
  dense: async (term, shape) => lowRank.dense(await toLowRank(term, shape), shape),
  scale: (term, factor) => ({ ...term, meta: { ...term.meta, scale: numberOf(term, 'scale') * factor } }),
  bytes: maskBytes,
  problems(term, shape) {
    const { in: n, out: m, rank } = extents(term, shape);
    if (shape.length !== 2) return [`it changes a matrix, the parameter is [${shape}]`];
    if (!Number.isSafeInteger(rank) || rank < 0) return [`its rank is ${term.meta.rank}`];
    return [
      ...maskProblems(term, ['aPlus', 'aMinus'], rank * n),
      ...maskProblems(term, ['bPlus', 'bMinus'], m * rank),
      ...finite(term, ['scale', 'a', 'b']),
    ];
  },
  slots: async (term, shape) => lowRank.slots!(await toLowRank(term, shape), shape),
});
