import type { ParameterRule } from '../adapter/method.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Optimizer } from './optimizers/optimizer.js';

/** Parameters that are updated with the same rate and decay. */
export interface Group {
  /** The full rate, before the schedule. */
  readonly lr: number;
  readonly decay: number;
}

/** The groups of a run, and for every rule the number of its group. */
export function groupsOf(
  rules: readonly ParameterRule[],
  run: { readonly lr: number; readonly weightDecay: number },
): { groups: Group[]; of: number[] } {
  const groups: Group[] = [];
  const of = rules.map((rule) => {
    const lr = rule.absoluteLr ?? run.lr * (rule.lr ?? 1);
    const decay = rule.weightDecay ?? run.weightDecay;
    const known = groups.findIndex((group) => group.lr === lr && group.decay === decay);
    return known >= 0 ? known : groups.push({ lr, decay }) - 1;
  });
  return { groups, of };
}

export const scalarName = (group: number, scalar: string): string => `optimizer:${group}:${scalar}`;

export const scalarTensor = (value: number): Tensor => ({ dtype: 'f32', shape: [], data: Float32Array.of(value) });

/** Feeds of one update: the optimizer's scalars of every group. */
export function scalarFeeds(
  optimizer: Optimizer,
  groups: readonly Group[],
  { step, factor }: { readonly step: number; readonly factor: number },
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  groups.forEach(({ lr, decay }, i) => {
    for (const [name, value] of Object.entries(optimizer.scalars({ step, rate: lr * factor, decay })))
      feeds[scalarName(i, name)] = scalarTensor(value);
  });
  return feeds;
}
