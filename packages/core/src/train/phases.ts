import type { Clock, Phase } from '../adapter/dynamics.js';
import type { Schedule } from './schedules.js';

/** The updates of one phase: from `from` up to but without `to`, counted from 0. */
export interface Span {
  readonly name: string;
  readonly from: number;
  readonly to: number;
  /** The schedule and the optimizer's state of the span before go on; see `Phase`. */
  readonly continues?: Phase['continues'];
}

/** Cuts a run into its phases by their shares; every phase has at least one update where there are enough. */
export function spansOf(phases: readonly Phase[], total: number): Span[] {
  const whole = phases.reduce((sum, { share }) => sum + share, 0);
  let done = 0;
  let from = 0;
  return phases.map(({ name, share, continues }, i) => {
    done += share;
    const rest = phases.length - 1 - i;
    const to = rest === 0 ? total : Math.min(Math.max(Math.round((total * done) / whole), from + 1), total - rest);
    const span = { name, from, to: Math.max(to, from), ...(i > 0 && continues && { continues }) };
    from = span.to;
    return span;
  });
}

/** The place of update t (from 0) in a run. */
export const clockOf = (spans: readonly Span[], phase: number, t: number): Clock => {
  const { from, to } = spans[phase]!;
  return { step: t + 1, total: spans.at(-1)!.to, phase, phaseStep: t + 1 - from, phaseTotal: to - from };
};

/**
 * The factor on the rate for update t of each span, counted from 0. Spans that continue share one schedule with the one
 * before, to which the rate rises anew.
 * @param make the schedule of so many updates
 */
export function schedulesOf(spans: readonly Span[], make: (total: number) => Schedule): Schedule[] {
  const schedules: Schedule[] = [];
  spans.forEach(({ from, continues }, i) => {
    if (continues) return;
    const after = spans.findIndex((span, j) => j > i && !span.continues);
    const group = spans.slice(i, after < 0 ? spans.length : after);
    const whole = make(group.at(-1)!.to - from);
    for (const span of group) {
      const rising = Math.round((span.continues?.warmup ?? 0) * (span.to - span.from));
      schedules.push((t) => whole(span.from - from + t) * (t < rising ? (t + 1) / rising : 1));
    }
  });
  return schedules;
}
