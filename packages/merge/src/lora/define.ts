import type { CompactReport, Delta, Kinds } from '@peftjs/core';
import type * as z from 'zod';
import type { Keep } from './draws.js';
import type { Weighted } from './inputs.js';

export interface LoraContext<Config> {
  readonly inputs: readonly Weighted[];
  readonly c: Config;
  readonly kinds: Kinds;
  /** Random masks. */
  readonly keep: Keep;
}

export interface LoraMerged {
  readonly delta: Delta;
  /** What was lost where the result is an approximation of what the rule asks for. */
  readonly report?: CompactReport;
}

/** One way to make one update of several adapters without a base: low-rank factors in, low-rank factors out. */
export interface LoraMerge<Schema extends z.ZodType = z.ZodType> {
  readonly name: string;
  /** Where it is described. */
  readonly paper?: string;
  readonly config: Schema;
  combine(context: LoraContext<z.output<Schema>>): Promise<LoraMerged>;
}

export interface BoundLoraMerge {
  readonly merge: LoraMerge;
  readonly config: unknown;
}

export interface LoraMergeFunction<Schema extends z.ZodType> {
  /** @throws PeftError CONFIG_INVALID listing everything wrong with the options */
  (options?: z.input<Schema>): BoundLoraMerge;
  readonly merge: LoraMerge<Schema>;
}
