import { createRandom, type Random } from '@peftjs/core/tensor';
import { argmax } from './tasks/likelihood.js';

export interface SamplingOptions {
  /** Divides the logits; 0 takes the likeliest token always. Default 0. */
  readonly temperature?: number;
  /** Chooses among this many of the likeliest tokens. Default: all. */
  readonly topK?: number;
  /** Chooses among the fewest tokens that together have this probability (https://arxiv.org/abs/1904.09751). Default 1. */
  readonly topP?: number;
  /** Default 0. */
  readonly seed?: number;
}

/** Picks the token that comes next from the logits of a row. */
export type Sampler = (logits: Float32Array) => number;

/**
 * A sampler of one sequence: its choices are a function of seed, stream and the number of the choice, so they do not
 * depend on which sequences are decoded beside it.
 */
export function createSampler({ temperature = 0, topK, topP = 1, seed = 0 }: SamplingOptions, stream: number): Sampler {
  if (temperature === 0) return argmax;
  const random: Random = createRandom(seed).fork('sample', stream);
  let choices = 0;
  return (logits) => {
    const candidates = ranked(logits, topK ?? logits.length, topP < 1);
    const highest = logits[argmax(logits)]!;
    const weights = candidates.map((id) => Math.exp((logits[id]! - highest) / temperature));
    const kept = nucleus(weights, topP);
    const [low, high] = random.bits(2, 2 * choices++) as unknown as [number, number];
    let u = ((low >>> 5) * 2 ** 26 + (high >>> 6)) * 2 ** -53 * kept.sum;
    for (let i = 0; i < kept.count; i++) {
      u -= weights[i]!;
      if (u < 0) return candidates[i]!;
    }
    return candidates[kept.count - 1]!;
  };
}

/** The `count` likeliest ids, in falling order where the order matters. */
function ranked(logits: Float32Array, count: number, ordered: boolean): number[] {
  const ids = Array.from(logits, (_, id) => id);
  if (count >= ids.length && !ordered) return ids;
  return ids.sort((a, b) => logits[b]! - logits[a]! || a - b).slice(0, count);
}

/** How many of the falling weights reach the share `topP` of their sum. */
function nucleus(weights: readonly number[], topP: number): { count: number; sum: number } {
  const all = weights.reduce((sum, w) => sum + w, 0);
  if (topP >= 1) return { count: weights.length, sum: all };
  let [count, sum] = [0, 0];
  while (count < weights.length && sum < topP * all) sum += weights[count++]!;
  return { count, sum };
}
