import { PeftError } from '@peftjs/core';

export interface GreedyOptions {
  /** Names of the candidates. */
  readonly candidates: readonly string[];
  /**
   * The score of the uniform soup of these candidates (by number), higher is better, on rows that neither trained the
   * candidates nor will judge the soup. A candidate alone is the soup of one.
   */
  readonly score: (ingredients: readonly number[]) => number | Promise<number>;
  /** Whether an equal score is enough: no in the model soups code (`gt`), yes in that of sparse model soups (`gte`). */
  readonly accept?: 'gt' | 'gte';
  /** Which of equally good candidates is tried first: the model soups code takes the later, sparse soups the earlier. */
  readonly tieOrder?: 'later' | 'earlier';
}

export interface GreedyStep {
  readonly candidate: string;
  /** Score of the soup with this candidate. */
  readonly score: number;
  readonly accepted: boolean;
}

export interface GreedyResult {
  /** Numbers of the accepted candidates, in the order they were accepted: their uniform soup is the result. */
  readonly ingredients: readonly number[];
  readonly score: number;
  /** Scores of the candidates alone, in their order. */
  readonly individual: readonly number[];
  readonly steps: readonly GreedyStep[];
}

/**
 * Greedy soup (Wortsman et al. 2022, recipe 1): from the best candidate on, each next one stays if the soup does not get
 * worse. Each is tried once.
 * @throws PeftError CONFIG_INVALID without candidates or for a score that is no number
 */
export async function greedySoup(options: GreedyOptions): Promise<GreedyResult> {
  const { candidates, accept = 'gt', tieOrder = 'later' } = options;
  if (candidates.length === 0) throw new PeftError('CONFIG_INVALID', 'A greedy soup needs at least one candidate.');
  const score = async (ingredients: readonly number[]) => {
    const value = await options.score(ingredients);
    if (!Number.isNaN(value)) return value;
    const names = ingredients.map((i) => candidates[i]).join(', ');
    throw new PeftError('CONFIG_INVALID', `The score of ${names} is not a number.`, { details: { ingredients } });
  };
  const individual: number[] = [];
  for (let i = 0; i < candidates.length; i++) individual.push(await score([i]));
  const order = candidates.map((_, i) => i);
  order.sort((a, b) => individual[b]! - individual[a]! || (tieOrder === 'later' ? b - a : a - b));
  const [first, ...rest] = order as [number, ...number[]];
  let best = individual[first]!;
  let ingredients = [first];
  const steps: GreedyStep[] = [{ candidate: candidates[first]!, score: best, accepted: true }];
  for (const candidate of rest) {
    const trial = [...ingredients, candidate];
    const value = await score(trial);
    const accepted = accept === 'gt' ? value > best : value >= best;
    steps.push({ candidate: candidates[candidate]!, score: value, accepted });
    if (accepted) [ingredients, best] = [trial, value];
  }
  return { ingredients, score: best, individual, steps };
}
