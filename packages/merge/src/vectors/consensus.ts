/** How sparse task vectors τ̂ become one. */
export interface Rule {
  /**
   * Which sign an element takes (TIES, section 4, step 2): of the sum or of the number of signs. Without it all are added.
   * `weighted`: the weights take part. `zero`: what a sum of 0 means: plus, the sign most elements have, or that one
   * with a second 0 meaning minus.
   */
  readonly elect?: {
    readonly by: 'total' | 'frequency';
    readonly weighted: boolean;
    readonly zero: 'plus' | 'majority' | 'majority-or-minus';
  };
  /** What the sum over the models that agree is divided by: their weights, their number (non-zero elements), or nothing. */
  readonly divide: 'weights' | 'count' | 'none';
  /** The largest magnitude instead of the sum. */
  readonly largest?: boolean;
}

/** Below this the sum of weights counts as 0 and is not divided by. */
const noWeight = 1e-8;

/** The votes of a chunk: the sign of a sum is the one that its element takes. */
export function votes(sparse: readonly Float64Array[], weights: readonly number[], { elect }: Rule): Float64Array {
  const sums = new Float64Array(sparse[0]!.length);
  sparse.forEach((tau, i) => {
    const w = elect!.weighted ? weights[i]! : 1;
    if (elect!.by === 'total') for (let j = 0; j < sums.length; j++) sums[j] = sums[j]! + w * tau[j]!;
    else for (let j = 0; j < sums.length; j++) sums[j] = sums[j]! + Math.sign(w * tau[j]!);
  });
  return sums;
}

/** Signs of votes, -1 or 1, in place. @param undecided what a sum of 0 becomes */
export function electedSigns(sums: Float64Array, undecided: number): Float64Array {
  for (let j = 0; j < sums.length; j++) sums[j] = Math.sign(sums[j]!) || undecided;
  return sums;
}

/**
 * The task vectors as one.
 * @param majority sign of the sum of all votes, for rules that ask it
 */
export function consensus(
  sparse: readonly Float64Array[],
  weights: readonly number[],
  rule: Rule,
  majority = 0,
): Float64Array {
  const { elect } = rule;
  if (!elect) return rule.largest ? largestOf(sparse, weights) : plainSum(sparse, weights, rule);
  const undecided = elect.zero === 'plus' ? 1 : majority || (elect.zero === 'majority-or-minus' ? -1 : 0);
  const signs = electedSigns(votes(sparse, weights, rule), undecided);
  return rule.largest ? largestOf(sparse, weights, signs) : agreeing(sparse, weights, signs, rule);
}

/** w τ̂ of the model where its magnitude is largest, among those that have the elected sign. */
function largestOf(sparse: readonly Float64Array[], weights: readonly number[], signs?: Float64Array): Float64Array {
  const out = new Float64Array(sparse[0]!.length);
  for (const [i, tau] of sparse.entries())
    for (let j = 0; j < out.length; j++) {
      if (signs && !(tau[j]! * signs[j]! > 0)) continue;
      const x = weights[i]! * tau[j]!;
      if (Math.abs(x) > Math.abs(out[j]!)) out[j] = x;
    }
  return out;
}

/** Σ w τ̂ over the models that have the elected sign, divided by their weights or their number. */
function agreeing(
  sparse: readonly Float64Array[],
  weights: readonly number[],
  signs: Float64Array,
  { elect, divide }: Rule,
): Float64Array {
  const out = new Float64Array(signs.length);
  const shares = new Float64Array(signs.length);
  for (const [i, tau] of sparse.entries()) {
    const w = weights[i]!;
    const turned = elect!.weighted ? Math.sign(w) : 1;
    const share = divide === 'count' ? 1 : w;
    for (let j = 0; j < out.length; j++) {
      const x = tau[j]!;
      if (!(turned * x * signs[j]! > 0)) continue;
      out[j] = out[j]! + w * x;
      shares[j] = shares[j]! + share;
    }
  }
  return divide === 'none' ? out : divided(out, shares);
}

/** Σ w τ̂ over all models, divided by their weights, or by the number of those that are not 0 there. */
function plainSum(sparse: readonly Float64Array[], weights: readonly number[], { divide }: Rule): Float64Array {
  const out = new Float64Array(sparse[0]!.length);
  for (const [i, tau] of sparse.entries()) {
    const w = weights[i]!;
    for (let j = 0; j < out.length; j++) out[j] = out[j]! + w * tau[j]!;
  }
  if (divide === 'none') return out;
  const total = divide === 'weights' ? weights.reduce((sum, w) => sum + w, 0) : 0;
  const shares = new Float64Array(out.length).fill(total);
  if (divide === 'count')
    for (const tau of sparse) for (let j = 0; j < out.length; j++) if (tau[j] !== 0) shares[j] = shares[j]! + 1;
  return divided(out, shares);
}

/** Sums over what they are divided by, in place; no weight at all divides nothing. */
function divided(sums: Float64Array, shares: Float64Array): Float64Array {
  for (let j = 0; j < sums.length; j++) if (Math.abs(shares[j]!) >= noWeight) sums[j] = sums[j]! / shares[j]!;
  return sums;
}
