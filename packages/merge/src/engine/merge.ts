import { PeftError, type Run, requireStamp } from '@peftjs/core';
import type { BoundMerge } from '../define.js';
import { wholeModels } from './arrangement.js';
import type { MergeEvent } from './events.js';
import type { MergeOptions, MergeResult, WeightedSource } from './options.js';
import { runMerge } from './run-merge.js';
import { nameOf, type Source } from './sources.js';

export const weighted = (input: Source | WeightedSource): WeightedSource =>
  typeof input === 'object' && !(input instanceof Map) && 'input' in input ? input : { input: input as Source };

/** Names of inputs, made distinct: random draws depend on them. */
export function distinctNames(names: readonly string[]): string[] {
  const seen = new Map<string, number>();
  return names.map((name) => {
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return times === 1 ? name : `${name}#${times}`;
  });
}

/**
 * Merges checkpoints, adapters and deltas, in constant memory where the method can: tensors are read in chunks, once for
 * each round of statistics and once to combine, computed in float32 or wider, and rounded once to nearest even. The same
 * seed gives the same bytes whatever the number of threads. A directory is written whole or not at all.
 *
 * With a base an adapter or a delta is base + update; without one updates are merged by themselves.
 *
 *     await merge(ties({ density: 0.2 }), ['./style', { input: './domain', weight: 0.7 }], { base: './base', output: './out' }).result();
 *
 * @throws PeftError CONFIG_INVALID, DELTA_CONFLICT (tensors, shapes and vocabularies that do not fit, all at once),
 *   FILE_MISSING, FILE_INVALID, FILE_UNWRITABLE, CANCELLED
 */
export function merge(
  method: BoundMerge<never> | BoundMerge,
  inputs: readonly (Source | WeightedSource)[],
  options: MergeOptions = {},
): Run<MergeEvent, MergeResult> {
  requireStamp(method, 'bound-merge', 'v1', `The merge "${method?.merge?.name ?? String(method)}"`);
  const bound = method as BoundMerge;
  const sources = inputs.map(weighted);
  if (sources.length === 0) throw new PeftError('CONFIG_INVALID', 'There is nothing to merge.');
  const names = distinctNames(sources.map(({ input, name }, i) => name ?? nameOf(input, i)));
  const settings = sources.map(({ weight = 1, settings: own = {} }) => ({ ...own, weight }));
  return runMerge({
    ...options,
    bound,
    sources: sources.map(({ input }, i) => ({ input, name: names[i]! })),
    arrangement: (hasBase) => wholeModels(settings, hasBase),
    record: {
      method: bound.merge.name,
      config: bound.config,
      models: names.map((name, i) => ({ name, ...settings[i] })),
      seed: options.seed ?? 0,
    },
  });
}
