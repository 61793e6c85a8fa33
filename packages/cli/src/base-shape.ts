import type { HeadCounts } from '@peftjs/core';
import { readConfig } from '@peftjs/models';
import { UsageError } from './usage.js';

/** What formats without a configuration of their own must be told of the base. */
export interface BaseShape extends HeadCounts {
  readonly modelType: string;
}

/** From a model directory's config.json. @throws UsageError when no base is given */
export async function baseShape(base: string | undefined, why: string): Promise<BaseShape> {
  if (base === undefined) throw new UsageError([`--base is missing: ${why}`]);
  const { modelType, raw } = await readConfig(base);
  const [heads, kvHeads = heads] = [raw.num_attention_heads, raw.num_key_value_heads ?? undefined];
  if (Number.isInteger(heads) && Number.isInteger(kvHeads))
    return { modelType, heads: heads as number, kvHeads: kvHeads as number };
  throw new UsageError([`--base: ${base} does not say its number of attention heads in config.json`]);
}
