import { type Adapter, builtinKinds, type CompactReport, type Kinds } from '@peftjs/core';
import type { BoundLoraMerge } from './define.js';
import { type Keep, seeded } from './draws.js';
import { assemble, type LoraInput, weighted } from './inputs.js';

export interface MergeAdaptersOptions {
  readonly kinds?: Kinds;
  /** Of the random masks, where the method draws any. Default 0. */
  readonly seed?: number | bigint;
  /** Masks from elsewhere, in place of the seed's. */
  readonly keep?: Keep;
}

export interface MergedAdapters {
  readonly adapter: Adapter;
  /** What was lost to truncation. Absent when the result is exactly what the method asks for. */
  readonly report?: CompactReport;
}

/**
 * One adapter of several, without their base: `mergeAdapters(svd({ rank: 8 }), [style, { input: domain, weight: 0.7 }])`.
 * @throws PeftError CONFIG_INVALID for weights, DELTA_CONFLICT for adapters that the method cannot combine, naming every
 *   parameter; ADAPTER_MISMATCH when they were made for different bases
 */
export async function mergeAdapters(
  { merge, config }: BoundLoraMerge,
  inputs: readonly LoraInput[],
  options: MergeAdaptersOptions = {},
): Promise<MergedAdapters> {
  const { kinds = builtinKinds, seed = 0, keep = seeded(seed) } = options;
  const all = weighted(inputs);
  const { delta, report } = await merge.combine({ inputs: all, c: config, kinds, keep });
  return { adapter: await assemble(all, delta), ...(report && { report }) };
}
