import type { ParameterRule } from '../adapter/method.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Tensor } from '../tensor/tensor.js';

/** Parameters that are updated with the same rate and decay. */
export interface Group {
  /** The full rate, before the schedule. */
  readonly lr: number;
  readonly decay: number;
  readonly optimizer: Optimizer;
}

/** The groups of a run, and for every rule the number of its group. */
export function groupsOf(
  rules: readonly ParameterRule[],
  run: { readonly lr: number; readonly weightDecay: number; readonly optimizer: Optimizer },
): { groups: Group[]; of: number[] } {
  const groups: Group[] = [];
  const of = rules.map((rule) => {
    const lr = rule.absoluteLr ?? run.lr * (rule.lr ?? 1);
    const decay = rule.weightDecay ?? run.weightDecay;
    const optimizer = rule.optimizer ?? run.optimizer;
    const known = groups.findIndex((g) => g.lr === lr && g.decay === decay && g.optimizer === optimizer);
    return known >= 0 ? known : groups.push({ lr, decay, optimizer }) - 1;
  });
  return { groups, of };
}

export const scalarName = (group: number, scalar: string): string => `optimizer:${group}:${scalar}`;

export const scalarTensor = (value: number): Tensor => ({ dtype: 'f32', shape: [], data: Float32Array.of(value) });

/** Input of a group's scheduled rate, where something besides the optimizer needs it. */
export const rateName = (group: number): string => scalarName(group, 'scheduled');

/** Feeds of `rateName`. */
export const rateFeeds = (groups: readonly Group[], { factor }: { readonly factor: number }): Record<string, Tensor> =>
  Object.fromEntries(groups.map(({ lr }, i) => [rateName(i), scalarTensor(lr * factor)]));

/** Feeds of one update: the optimizers' scalars of every group. */
export function scalarFeeds(
  groups: readonly Group[],
  { step, factor }: { readonly step: number; readonly factor: number },
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  groups.forEach(({ lr, decay, optimizer }, i) => {
    for (const [name, value] of Object.entries(optimizer.scalars({ step, rate: lr * factor, decay })))
      feeds[scalarName(i, name)] = scalarTensor(value);
  });
  return feeds;
}
