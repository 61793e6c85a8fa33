import {
  f32,
  graphIndices,
  indexRef,
  lowRankTerm,
  maskTerm,
  numbersOf,
  type Params,
  packMask,
  type Random,
  type SiteOf,
  sparseTerm,
  type Target,
  type Tensor,
  type Term,
  tensorRef,
  zeros,
} from '@peftjs/core';
import type { DseeSettings } from './config.js';
import { scaleOf } from './roles.js';

/** V normal, U and S₂ zero, as in the authors' code: no change at the start. */
export function startOf({ in: width, out }: Target, { r, entries }: DseeSettings, rng: Random): Params<Tensor> {
  return {
    u: zeros([out, r]),
    v: rng.fork('v').normal([r, width], 0, 0.02),
    s2: zeros([entries]),
  };
}

/** Rows and columns of flat indices. */
export function placesOf(indices: Tensor, width: number): Params<Tensor> {
  const flat = Array.from(numbersOf(indices));
  const [rows, columns] = [flat.map((i) => Math.floor(i / width)), flat.map((i) => i % width)];
  return { rows: graphIndices(rows), columns: graphIndices(columns) };
}

type Site = SiteOf<Tensor, DseeSettings>;

/** S₂ as a term: its entries in the order of the weight as it lies. */
function sparseOf({ p, target, c }: Site): Term {
  const flat = Array.from(p.s2!.data as Float32Array, (value, k) => {
    const [o, i] = [Number(p.rows!.data[k]), Number(p.columns!.data[k])];
    return { at: target.kind === 'conv1d' ? i * target.out + o : o * target.in + i, value };
  }).sort((a, b) => a.at - b.at);
  const indices = indexRef(
    flat.map(({ at }) => at),
    target.in * target.out,
  );
  const values = tensorRef(
    f32(
      [flat.length],
      flat.map(({ value }) => value),
    ),
  );
  return sparseTerm({ indices, values }, scaleOf(c));
}

/** What a target has become: the mask first, then what is added to what it keeps. */
export function termsOf(site: Site): Term[] {
  const { p, target, c } = site;
  const terms: Term[] = p.s1 ? [maskTerm(packMask(p.s1.data as Uint8Array))] : [];
  if (!p.u || !p.v) return terms;
  const factors = { a: tensorRef(p.v), b: tensorRef(p.u) };
  const low = lowRankTerm(factors, { scale: scaleOf(c), transposed: target.kind === 'conv1d' });
  return [...terms, low, sparseOf(site)];
}
