import type { LearnedSoupOptions } from './learned.js';

/**
 * Slopes for `learnedSoup` from scores alone, for shares of whole models: forward differences towards each model along
 * α' = (1 - h) α + h e_m, whose shares sum to 1 as well. The softmax takes such slopes as it takes gradients, because both
 * differ by the same number for all models. Takes models + 1 scores a step and knows no β.
 * @param score of the soup with these shares, higher is better
 * @param h length of a difference, in (0, 1]
 */
export function slopesFromScores(
  score: (alpha: Float64Array) => number | Promise<number>,
  h = 0.1,
): LearnedSoupOptions['evaluate'] {
  return async ([alpha]) => {
    const loss = -(await score(alpha!));
    const slopes = new Float64Array(alpha!.length);
    for (let m = 0; m < slopes.length; m++) {
      const moved = alpha!.map((share, i) => (1 - h) * share + (i === m ? h : 0));
      slopes[m] = (-(await score(moved)) - loss) / h;
    }
    return { loss, alpha: [slopes], beta: 0 };
  };
}
