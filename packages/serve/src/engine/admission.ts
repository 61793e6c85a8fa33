import type { SlotTable } from './slots.js';

/** What admission looks at in a waiting sequence. */
export interface Waiting {
  /** Digest of its adapter; undefined is the bare base, which needs no slot. */
  readonly adapter: string | undefined;
  /** Milliseconds on the scheduler's clock. */
  readonly arrived: number;
  /** Tokens it brings. */
  readonly length: number;
}

export interface AdmissionLimits {
  readonly rows: number;
  /** Distinct adapters in one batch, the base not counted. */
  readonly adapters: number;
  /** Tokens prefilled in one step: bounds how long running sequences wait for new ones. The first one always fits. */
  readonly prefill: number;
  /** After so many milliseconds at the head of the line nobody is let past. */
  readonly patience: number;
}

/**
 * Who joins the batch now: first come, first served. A sequence whose adapter cannot get a slot yet does not hold up
 * younger ones whose adapter is already running, until it has waited for `patience`.
 * @returns positions in `waiting`, in order; `admit` is asked for each so that its slot is taken at once
 */
export function admission<W extends Waiting>(
  waiting: readonly W[],
  state: { readonly rows: number; readonly adapters: ReadonlySet<string>; readonly now: number },
  limits: AdmissionLimits,
  slots: Pick<SlotTable, 'available'>,
  admit: (sequence: W) => void,
): number[] {
  const admitted: number[] = [];
  const adapters = new Set(state.adapters);
  let prefill = 0;
  for (const [position, sequence] of waiting.entries()) {
    if (state.rows + admitted.length >= limits.rows) break;
    if (admitted.length > 0 && prefill + sequence.length > limits.prefill) break;
    const { adapter } = sequence;
    if (adapter !== undefined && !adapters.has(adapter)) {
      if (adapters.size >= limits.adapters || !slots.available(adapter)) {
        if (state.now - sequence.arrived > limits.patience) break;
        continue;
      }
      adapters.add(adapter);
    }
    admit(sequence);
    admitted.push(position);
    prefill += sequence.length;
  }
  return admitted;
}
