import type { Clock, Phase } from '../adapter/dynamics.js';

/** The updates of one phase: from `from` up to but without `to`, counted from 0. */
export interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** Cuts a run into its phases by their shares; every phase has at least one update where there are enough. */
export function spansOf(phases: readonly Phase[], total: number): Span[] {
  const whole = phases.reduce((sum, { share }) => sum + share, 0);
  let done = 0;
  let from = 0;
  return phases.map(({ name, share }, i) => {
    done += share;
    const rest = phases.length - 1 - i;
    const to = rest === 0 ? total : Math.min(Math.max(Math.round((total * done) / whole), from + 1), total - rest);
    const span = { name, from, to: Math.max(to, from) };
    from = span.to;
    return span;
  });
}

/** The place of update t (from 0) in a run. */
export const clockOf = (spans: readonly Span[], phase: number, t: number): Clock => {
  const { from, to } = spans[phase]!;
  return { step: t + 1, total: spans.at(-1)!.to, phase, phaseStep: t + 1 - from, phaseTotal: to - from };
};
