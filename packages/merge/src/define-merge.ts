import { PeftError, stamp } from '@peftjs/core';
import type * as z from 'zod';
import { resolveMerge } from './config.js';
import type { BoundMerge, Merge, MergeFunction, MergeInput } from './define.js';

/** A merging method as a function of its options. The description itself is at `.merge`. */
export function defineMerge<Schema extends z.ZodType>(description: Merge<Schema>): MergeFunction<Schema> {
  if ((description.combine === undefined) === (description.whole === undefined)) {
    const problem = `The merge "${description.name}" must have either combine or whole.`;
    throw new PeftError('PLUGIN_INCOMPATIBLE', problem);
  }
  const merge = stamp({ ...description }, 'merge', description.spec);
  const bind = (options?: MergeInput<Schema>): BoundMerge<Schema> =>
    stamp({ merge, config: resolveMerge(merge, options ?? {}) }, 'bound-merge', merge.spec);
  return stamp(Object.assign(bind, { merge }), 'merge', merge.spec);
}
