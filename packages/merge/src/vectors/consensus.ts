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

/** The sign of the vote over models for element j, 0 when undecided. */
function vote(
  sparse: readonly Float64Array[],
  weights: readonly number[],
  j: number,
  elect: NonNullable<Rule['elect']>,
): number {
  let sum = 0;
  for (let i = 0; i < sparse.length; i++) {
    const x = elect.weighted ? weights[i]! * sparse[i]![j]! : sparse[i]![j]!;
    sum += elect.by === 'total' ? x : Math.sign(x);
  }
  return Math.sign(sum);
}

/** The votes of a chunk; their sum over the model is the majority of step 2's ties. */
export const votes = (sparse: readonly Float64Array[], weights: readonly number[], rule: Rule): Float64Array =>
  Float64Array.from({ length: sparse[0]!.length }, (_, j) => vote(sparse, weights, j, rule.elect!));

/** @param majority sign of the sum of all votes, for rules that ask it. */
export function consensus(
  sparse: readonly Float64Array[],
  weights: readonly number[],
  rule: Rule,
  majority = 0,
): Float64Array {
  const { elect } = rule;
  const out = new Float64Array(sparse[0]!.length);
  const undecided = elect?.zero === 'plus' ? 1 : majority || (elect?.zero === 'majority-or-minus' ? -1 : 0);
  for (let j = 0; j < out.length; j++) {
    const sign = elect ? vote(sparse, weights, j, elect) || undecided : 0;
    let sum = 0;
    let weight = 0;
    let count = 0;
    let largest = 0;
    for (let i = 0; i < sparse.length; i++) {
      const x = sparse[i]![j]!;
      const w = weights[i]!;
      if (elect && Math.sign(elect.weighted ? w * x : x) !== sign) continue;
      if (elect && sign === 0) continue;
      sum += w * x;
      weight += w;
      if (x !== 0) count++;
      if (Math.abs(w * x) > Math.abs(largest)) largest = w * x;
    }
    if (rule.largest) out[j] = largest;
    else if (rule.divide === 'weights') out[j] = sum / (Math.abs(weight) < noWeight ? 1 : weight);
    else if (rule.divide === 'count') out[j] = sum / Math.max(count, 1);
    else out[j] = sum;
  }
  return out;
}
