import { toF32 } from '@peftjs/core';
import type { GreedyResult } from '@peftjs/merge';
import type { Tensors } from './case.js';
import type { MergeRecord } from './merging.js';

/** Σ over all tensors of (θ - target)², in float64. */
export function distance(theta: Tensors, target: Tensors): number {
  let sum = 0;
  for (const [name, tensor] of target) {
    const { data } = toF32(theta.get(name)!);
    toF32(tensor).data.forEach((want, j) => {
      sum += (data[j]! - want) ** 2;
    });
  }
  return sum;
}

interface ScoreValues {
  readonly individual_scores: readonly { readonly score: number }[];
  readonly steps: readonly { readonly candidate: string; readonly trial_score: number; readonly accepted: boolean }[];
}

/** @throws an error where a step of a greedy soup differs from what the record says */
export function compareScores({ individual, steps }: GreedyResult, { values }: MergeRecord): void {
  const { individual_scores, steps: wanted } = values as unknown as ScoreValues;
  const problems: string[] = [];
  // Soups are rounded to float32 before they are scored.
  const near = (a: number, b: number) => Math.abs(a - b) < 1e-6;
  individual.forEach((score, i) => {
    const want = individual_scores[i]!.score;
    if (!near(score, want)) problems.push(`candidate ${i} scores ${score}, expected ${want}`);
  });
  if (steps.length !== wanted.length) problems.push(`${steps.length} steps, expected ${wanted.length}`);
  steps.forEach(({ candidate, score, accepted }, i) => {
    const want = wanted[i];
    const isSame = want && candidate === want.candidate && accepted === want.accepted && near(score, want.trial_score);
    if (!isSame)
      problems.push(`step ${i}: ${JSON.stringify({ candidate, score, accepted })}, expected ${JSON.stringify(want)}`);
  });
  if (problems.length > 0) throw new Error(problems.join('\n'));
}
