import { seedProblems, strayTensors, type Term, tensorProblems } from '@peftjs/core';
import { describe, fingerprint, version } from './term.js';

/** What is wrong with the term's own account of itself. */
export function problemsOf(term: Term): string[] {
  const { meta } = term;
  const out = strayTensors(term, ['d']);
  out.push(...tensorProblems(term, 'd', { dtypes: (dtype) => dtype === 'f32', shape: [undefined] }));
  out.push(...seedProblems(term, { gives: 'signs', needing: 'numbers', version, versions: [version] }));
  if (!Number.isFinite(meta.scale)) out.push(`its scale is ${meta.scale}`);
  return out;
}

/** Whether the seed gives the signs that the term was trained with. */
export function fingerprintProblems(term: Term, shape: readonly number[]): string[] {
  const { seed, dimension } = describe(term, shape);
  const own = fingerprint(seed, dimension, shape);
  if (own === term.meta.fingerprint) return [];
  return [
    `its seed makes signs of the fingerprint ${own} here, and of ${term.meta.fingerprint} where it was trained: it belongs to another shape or another generator`,
  ];
}
