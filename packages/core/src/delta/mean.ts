import { PeftError, Problems } from '../errors.js';
import { notASum } from './additive.js';
import type { Delta, Term } from './delta.js';
import { sameExtents } from './kinds/common.js';
import { builtinKinds, type Kinds, kindOf } from './registry.js';

export interface Weighted {
  readonly delta: Delta;
  readonly weight: number;
}

/**
 * The update that makes of a base the weighted mean of what the given ones make of it: Σ wᵢ Wᵢ′ with Σ wᵢ = 1. Sums are
 * scaled and stand side by side; what is no sum needs a kind that knows its mean, in every one of them.
 * @throws PeftError CONFIG_INVALID for weights that do not add up to 1, DELTA_CONFLICT listing every parameter that has no
 *   mean
 */
export async function mean(parts: readonly Weighted[], kinds: Kinds = builtinKinds): Promise<Delta> {
  const whole = parts.reduce((sum, { weight }) => sum + weight, 0);
  // Decimal fractions do not add up to 1 exactly.
  if (!(Math.abs(whole - 1) < 1e-6))
    throw new PeftError('CONFIG_INVALID', `The weights of a mean add up to ${whole}, not to 1. Divide them by it.`, {
      details: { weights: parts.map(({ weight }) => weight) },
    });
  const problems = new Problems();
  const shape = new Map<string, readonly number[]>();
  const params = new Map<string, readonly Term[]>();
  for (const path of new Set(parts.flatMap(({ delta }) => [...delta.params.keys()]))) {
    const own = parts.flatMap(({ delta, weight }) => {
      const terms = delta.params.get(path);
      return terms ? [{ terms, weight, shape: delta.shape.get(path)! }] : [];
    });
    shape.set(path, own[0]!.shape);
    const made = await meanOf(own, parts.length, kinds);
    if (typeof made === 'string') problems.add(`"${path}" ${made}.`);
    else params.set(path, made);
  }
  problems.throwIfAny('DELTA_CONFLICT', 'These updates have no mean');
  return { shape, params };
}

async function meanOf(
  own: readonly { readonly terms: readonly Term[]; readonly weight: number; readonly shape: readonly number[] }[],
  count: number,
  kinds: Kinds,
): Promise<readonly Term[] | string> {
  const { shape } = own[0]!;
  if (own.some((one) => !sameExtents(one.shape, shape))) return 'has several shapes';
  const terms = own.map((one) => one.terms[0]!);
  const odd = notASum(
    own.flatMap((one) => one.terms),
    kinds,
  );
  if (!odd) return own.flatMap((one) => one.terms.map((term) => kindOf(term, kinds).scale(term, one.weight)));
  const kind = kindOf(odd, kinds);
  if (!kind.mean) return `has an update of kind ${kind.kind}, which has no mean`;
  if (own.length < count || own.some((one) => one.terms.length > 1 || one.terms[0]!.kind !== kind.kind))
    return `has an update of kind ${kind.kind} in some of them alone`;
  const made = await kind.mean(
    terms,
    own.map(({ weight }) => weight),
  );
  return typeof made === 'string' ? made : [made];
}
