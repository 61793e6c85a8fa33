import type { Clock } from '@peftjs/core';
import type { PstSettings } from './config.js';

/**
 * Sparsity of update t of T, cubic (Zhu and Gupta 2017, as Li et al. 2022 use it, eq. 9):
 * s_f + (s_i - s_f) (1 - (t - t_i) / (T - t_i - t_f))³ between the warm-ups t_i and t_f, s_i and s_f in them.
 */
export function sparsityAt(
  { step, total }: Pick<Clock, 'step' | 'total'>,
  { sparsity, initialSparsity, initialWarmup, finalWarmup }: PstSettings,
): number {
  const [from, to] = [initialWarmup * total, total - finalWarmup * total];
  if (step >= to) return sparsity;
  if (step <= from) return initialSparsity;
  return sparsity + (initialSparsity - sparsity) * (1 - (step - from) / (to - from)) ** 3;
}
