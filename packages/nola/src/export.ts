import { type Adapter, materialized } from '@peftjs/core';
import { lowRankOf, seededLowRank } from './kind.js';

/**
 * The adapter as plain LoRA: every seeded update becomes its two factors, made once. It has no seed any more, and PEFT
 * loads what `writeAdapter` makes of it. Other updates stay as they are.
 * @throws PeftError ADAPTER_INVALID when a seed is missing or does not give the matrices it was trained with
 */
export const materialize = (adapter: Adapter): Promise<Adapter> => materialized(adapter, seededLowRank.kind, lowRankOf);
