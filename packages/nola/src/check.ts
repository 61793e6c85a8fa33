import { seedProblems, type Term } from '@peftjs/core';
import { type Bits, savedForm } from './coefficients.js';
import { variants, widths } from './config.js';
import { describe, fingerprint, version, versions } from './term.js';

const whole = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) > 0;

/** What is wrong with the term's own account of itself. */
export function problemsOf(term: Term, shape: readonly number[]): string[] {
  const { meta, tensors } = term;
  if (shape.length !== 2) return [`it changes a matrix, the parameter is [${shape}]`];
  const out = seedProblems(term, { gives: 'matrices', needing: 'coefficients', version, versions });
  if (!(variants as readonly unknown[]).includes(meta.variant))
    out.push(`its variant ${meta.variant} is none of ${variants.join(', ')}`);
  if (!(widths as readonly unknown[]).includes(meta.bits))
    out.push(`its coefficients have ${meta.bits} bits, known are ${widths.join(', ')}`);
  for (const key of ['r', 'bases']) if (!whole(meta[key])) out.push(`its ${key} is ${meta[key]}`);
  if (Number(meta.r) > Math.max(...shape)) out.push(`its r is ${meta.r}, the parameter is [${shape}]`);
  for (const key of ['scale', 'alphaStep', 'betaStep'])
    if (!Number.isFinite(meta[key])) out.push(`its ${key} is ${meta[key]}`);
  if (out.length > 0) return out;
  const { dtype, length } = savedForm(Number(meta.bases), meta.bits as Bits);
  for (const name of ['alpha', 'beta']) {
    const ref = tensors[name];
    if (ref?.dtype !== dtype || ref.shape.length !== 1 || ref.shape[0] !== length)
      out.push(`its ${name} is ${ref ? `${ref.dtype} [${ref.shape}]` : 'missing'}, needed is ${dtype} [${length}]`);
  }
  for (const name of Object.keys(tensors))
    if (name !== 'alpha' && name !== 'beta') out.push(`it has no tensor "${name}"`);
  return out;
}

/** Whether the seed gives the matrices that the term was trained with. */
export function fingerprintProblems(term: Term, shape: readonly number[]): string[] {
  const d = describe(term, shape);
  const own = fingerprint(d.seed, d, d, term.meta.version);
  if (own === term.meta.fingerprint) return [];
  return [
    `its seed makes matrices of the fingerprint ${own} here, and of ${term.meta.fingerprint} where it was trained: it belongs to another shape or another generator`,
  ];
}
