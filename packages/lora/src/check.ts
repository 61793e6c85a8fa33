import type { Target } from '@peftjs/core';
import type { LoraSettings } from './config.js';
import { startsFromWeight } from './plan.js';

/** What is wrong with a configuration for a target. */
export function check(target: Target, c: LoraSettings): string[] {
  const problems: string[] = [];
  const embedding = target.kind === 'embedding';
  const least = Math.min(target.in, target.out);
  if (c.init === 'orthogonal' && c.r % 2 !== 0) problems.push(`an orthogonal start needs an even r, not ${c.r}`);
  if (startsFromWeight(c) && c.r > least)
    problems.push(`init ${c.init} takes r directions of the weight, which has ${least}, not ${c.r}`);
  else if (c.r > Math.max(target.in, target.out))
    problems.push(`a rank of ${c.r} is more than its ${target.out} outputs and ${target.in} inputs: lower r`);
  if (embedding && (c.init === 'eva' || startsFromWeight(c)))
    problems.push(`init ${c.init} is for layers that multiply by a weight, not for an embedding`);
  if (embedding && c.loraBias) problems.push('an embedding has no bias in B: leave loraBias out');
  if (embedding && c.fa) problems.push('the A of an embedding starts at zero, so LoRA-FA would never train it');
  if (c.dora && c.loraBias) problems.push('DoRA has no bias in B: leave loraBias or dora out');
  if (c.dora && c.fa)
    problems.push("LoRA-FA corrects the gradient of a sum, which DoRA's weight is not: leave one out");
  return problems;
}
