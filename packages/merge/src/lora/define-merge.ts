import { PeftError } from '@peftjs/core';
import * as z from 'zod';
import type { LoraMerge, LoraMergeFunction } from './define.js';

/** A way to merge adapters as a function of its options. The description itself is at `.merge`. */
export function defineLoraMerge<Schema extends z.ZodType>(merge: LoraMerge<Schema>): LoraMergeFunction<Schema> {
  const bind = (options?: z.input<Schema>) => {
    const parsed = merge.config.safeParse(options ?? {});
    if (parsed.success) return { merge: merge as LoraMerge, config: parsed.data as unknown };
    throw new PeftError('CONFIG_INVALID', `${merge.name}: ${z.prettifyError(parsed.error)}`, {
      details: { merge: merge.name, issues: parsed.error.issues },
    });
  };
  return Object.assign(bind, { merge });
}
