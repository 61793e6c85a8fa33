import type { Clock } from '@peftjs/core';
import type { SpielSettings } from './config.js';

type Windows = Pick<SpielSettings, 'reselectEvery' | 'accumulateFor'>;

// Updates count from 1. With S = reselectEvery and A = accumulateFor a reselection follows the updates A, S + A, 2S + A,
// ...; gradients are gathered in the updates before it: 1 to A the first time, later those from kS on, one more.

/** Whether gradients of candidates are gathered in this update. */
export const gathers = ({ step }: Clock, { reselectEvery, accumulateFor }: Windows): boolean =>
  step % reselectEvery <= accumulateFor;

/** Whether it is the first of its window: the candidates are chosen by its gradients. */
export const opens = ({ step }: Clock, { reselectEvery }: Windows): boolean => step === 1 || step % reselectEvery === 0;

/** Whether coordinates are replaced after this update. */
export const reselects = ({ step }: Clock, { reselectEvery, accumulateFor }: Windows): boolean =>
  step % reselectEvery === accumulateFor;

/** Updates in the window that ends with this one. */
export const samplesOf = ({ step }: Clock, { accumulateFor }: Windows): number =>
  step === accumulateFor ? accumulateFor : accumulateFor + 1;

/** Share of the coordinates to be replaced (Ansell et al. 2024, section 3.2; the first one and the cosine as in its code). */
export function replacedShare(
  { step, total }: Clock,
  {
    replace,
    policy,
    accumulateFor,
    replaceFirst,
  }: Pick<SpielSettings, 'replace' | 'policy' | 'accumulateFor' | 'replaceFirst'>,
): number {
  if (policy === 'cosine') return (replace * (1 + Math.cos((Math.PI * step) / total))) / 2;
  return replaceFirst && step === accumulateFor ? 1 : replace * (1 - step / total);
}
