import { Problems } from '../errors.js';
import type { Delta, Term } from './delta.js';
import { type Kinds, kindOf } from './registry.js';

/** The first of these terms that is not W + ΔW. */
export const notASum = (terms: readonly Term[], kinds: Kinds): Term | undefined =>
  terms.find((term) => kindOf(term, kinds).additive === false);

/** Whether they leave a parameter of zeros as it is, so that it need not exist. */
export const keepZero = (terms: readonly Term[], kinds: Kinds): boolean =>
  terms.every((term) => kindOf(term, kinds).keepsZero === true);

/**
 * For what is defined for sums alone: scaling, averaging, approximating.
 * @param subject what cannot be done
 * @throws PeftError DELTA_CONFLICT naming every parameter with a term that is not W + ΔW, and its kind
 */
export function requireAdditive({ params }: Delta, kinds: Kinds, subject: string): void {
  const problems = new Problems();
  for (const [path, terms] of params) {
    const term = notASum(terms, kinds);
    if (term) problems.add(`"${path}" has an update of kind ${term.kind}, which is not a sum W + ΔW.`);
  }
  problems.throwIfAny('DELTA_CONFLICT', subject);
}
