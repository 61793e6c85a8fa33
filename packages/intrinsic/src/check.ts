import { randomAlgorithm, strayTensors, type Term, tensorProblems } from '@peftjs/core';
import { describe, fingerprint, version } from './term.js';

/** What is wrong with the term's own account of itself. */
export function problemsOf(term: Term): string[] {
  const { meta } = term;
  const out = strayTensors(term, ['d']);
  out.push(...tensorProblems(term, 'd', { dtypes: (dtype) => dtype === 'f32', shape: [undefined] }));
  if (meta.seed === undefined) out.push('it has no seed, and without it its numbers mean nothing');
  else if (!/^\d{1,20}$/.test(String(meta.seed)) || BigInt(String(meta.seed)) >= 1n << 64n)
    out.push(`its seed ${meta.seed} is no integer from 0 to 2^64 - 1`);
  if (meta.algorithm !== randomAlgorithm || meta.version !== version)
    out.push(
      `its signs are of ${meta.algorithm}, version ${meta.version}; this release makes those of ${randomAlgorithm}, version ${version}`,
    );
  if (typeof meta.fingerprint !== 'string') out.push('it has no fingerprint');
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
