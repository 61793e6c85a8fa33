export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * The importance after a look (Yao et al. 2024, section 3.3): with the rewards r = exp(-loss) less their mean,
 * I_i ← I_i + rate · r · p_i (1 - p_i) for the layers i of each set, p = σ(I) of before.
 *
 * NOTE the sign: a layer whose suppression leaves the loss low gets a LARGER I. The authors call it importance; it says
 * how little a layer matters, and layers are trained with probability in proportion to σ(-I).
 */
export function rewarded(
  I: readonly number[],
  subsets: readonly (readonly number[])[],
  losses: readonly number[],
  rate: number,
): number[] {
  const rewards = losses.map((loss) => Math.exp(-loss));
  const mean = rewards.reduce((a, b) => a + b, 0) / rewards.length;
  const next = [...I];
  subsets.forEach((subset, k) => {
    for (const i of subset) {
      const p = sigmoid(I[i]!);
      next[i] = next[i]! + rate * (rewards[k]! - mean) * p * (1 - p);
    }
  });
  return next;
}
