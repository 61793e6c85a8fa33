import * as z from 'zod';
import { baseDefaults, carriedKeys, type FileFormat, sharedFileKeys } from '../common/config.js';
import type { Parts } from '../common/keys.js';

const schema = z.object({
  ...sharedFileKeys,
  sparsity: z.number().min(0).lt(1).default(0.99),
  r: z.number().int().positive().nullish(),
  lora_alpha: z.number().nullish(),
  lora_dropout: z.number().min(0).max(1).nullish(),
});

export type SupertuningFile = z.output<typeof schema>;

export const supertuningFormat: FileFormat<typeof schema> = {
  schema,
  defaults: {
    ...baseDefaults,
    init_weights: true,
    lora_alpha: null,
    lora_dropout: 0,
    peft_type: 'SUPERTUNING',
    r: null,
    save_precomputed_indices: true,
    select_top: true,
    sparsity: 0.99,
  },
  // How the places were chosen and how the values began: both are in the file as they became.
  carried: new Set([...carriedKeys, 'init_weights', 'save_precomputed_indices', 'select_top']),
  names: { alpha: 'lora_alpha', dropout: 'lora_dropout' },
};

/** indices [k], flat and row-major; values [k]; a [r, in] and b [out, r] where r is set. */
export const supertuningParts: Parts<'indices' | 'values' | 'a' | 'b'> = {
  indices: { suffix: '.supertuning_indices', index: true },
  values: { suffix: '.supertuning_values' },
  a: { suffix: '.supertuning_lora_A.weight' },
  b: { suffix: '.supertuning_lora_B.weight' },
};

/** Entries that a sparsity leaves of a matrix: Python's int(numel * (1 - sparsity)), in double precision. */
export const entriesLeft = (numel: number, sparsity: number): number => Math.trunc(numel * (1 - sparsity));

/** PEFT's own where only r is given. */
export const alphaOf = ({ r, lora_alpha }: SupertuningFile): number => lora_alpha ?? 2 * (r ?? 0);
