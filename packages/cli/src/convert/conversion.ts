import type { slotNames } from '@peftjs/core';
import type { Fewer } from '@peftjs/dsee';
import type { AdapterInput } from '../any-adapter.js';
import type { Plugins } from '../plugins.js';

/** A conversion with nothing left open. */
export interface Conversion extends AdapterInput {
  readonly plugins: Plugins;
  readonly output: string;
  /** The layout of PEFT's files, by `peft_type`. */
  readonly layout: string | undefined;
  readonly dtype: 'f32' | 'f16';
  readonly names: keyof typeof slotNames;
  readonly targetModules: readonly string[] | undefined;
  /** What goes of every layer for --to pruned. */
  readonly fewer: Fewer;
  readonly signal: AbortSignal;
}
