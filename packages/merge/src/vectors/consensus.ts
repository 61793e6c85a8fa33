import { addAgreeing, addScaled, divide, floats, toSigns, zeros } from '../kernels/index.js';

/** How sparse task vectors τ̂ become one. */
export interface Rule {
  /**
   * Which sign an element takes (TIES, section 4, step 2): of the sum or of the number of signs. Without it all are added
   * (`linearShares`).
   * `weighted`: the weights take part. `zero`: what a sum of 0 means: plus, the sign most elements have, or that one
   * with a second 0 meaning minus.
   */
  readonly elect?: {
    readonly by: 'total' | 'frequency';
    readonly weighted: boolean;
    readonly zero: 'plus' | 'majority' | 'majority-or-minus';
  };
  /**
   * What the sum over the models that agree is divided by: their weights, their number (of elements that are not 0; with
   * an election), or nothing.
   */
  readonly divide: 'weights' | 'count' | 'none';
  /** The largest magnitude instead of the sum. */
  readonly largest?: boolean;
}

/** Below this the sum of weights counts as 0 and is not divided by. */
const noWeight = 1e-8;

/** The votes of a chunk: the sign of a sum is the one that its element takes. */
function votes(sparse: readonly Float32Array[], weights: readonly number[], { elect }: Rule): Float32Array {
  const sums = zeros(sparse[0]!.length);
  sparse.forEach((tau, i) => {
    const w = elect!.weighted ? weights[i]! : 1;
    if (elect!.by === 'total') addScaled(sums, tau, w);
    else {
      const signs = floats(tau.length);
      signs.set(tau);
      toSigns(signs, 0);
      addScaled(sums, signs, Math.sign(w));
    }
  });
  return sums;
}

/** The sign that each element takes, -1 or 1. @param undecided what it is where the votes sum to 0 */
export function electedSigns(
  sparse: readonly Float32Array[],
  weights: readonly number[],
  rule: Rule,
  undecided: number,
): Float32Array {
  const signs = votes(sparse, weights, rule);
  toSigns(signs, undecided);
  return signs;
}

/** Where no signs are elected the result is linear in the task vectors: what each counts. */
export function linearShares(weights: readonly number[], { divide: by }: Rule): number[] {
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => (by === 'none' || Math.abs(total) < noWeight ? w : w / total));
}

/**
 * The task vectors as one, by elected signs.
 * @param majority sign of the sum of all votes, for rules that ask it
 */
export function consensus(
  sparse: readonly Float32Array[],
  weights: readonly number[],
  rule: Rule,
  majority = 0,
): Float32Array {
  const { elect } = rule;
  const undecided = elect!.zero === 'plus' ? 1 : majority || (elect!.zero === 'majority-or-minus' ? -1 : 0);
  const signs = electedSigns(sparse, weights, rule, undecided);
  return rule.largest ? largestOf(sparse, weights, signs) : agreeing(sparse, weights, signs, rule);
}

/** w τ̂ of the model where its magnitude is largest, among those that have the elected sign. */
function largestOf(sparse: readonly Float32Array[], weights: readonly number[], signs: Float32Array): Float32Array {
  const out = zeros(sparse[0]!.length);
  for (const [i, tau] of sparse.entries())
    for (let j = 0; j < out.length; j++) {
      if (!(tau[j]! * signs[j]! > 0)) continue;
      const x = weights[i]! * tau[j]!;
      if (Math.abs(x) > Math.abs(out[j]!)) out[j] = x;
    }
  return out;
}

/** Σ w τ̂ over the models that have the elected sign, divided by their weights or their number. */
function agreeing(
  sparse: readonly Float32Array[],
  weights: readonly number[],
  signs: Float32Array,
  { elect, divide: by }: Rule,
): Float32Array {
  const out = zeros(signs.length);
  const shares = zeros(signs.length);
  for (const [i, tau] of sparse.entries()) {
    const w = weights[i]!;
    const turned = elect!.weighted ? Math.sign(w) : 1;
    addAgreeing(out, shares, tau, signs, { w, share: by === 'count' ? 1 : w, turned });
  }
  if (by !== 'none') divide(out, shares, noWeight);
  return out;
}
