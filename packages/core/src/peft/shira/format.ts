import * as z from 'zod';
import { baseDefaults, carriedKeys, type FileFormat, sharedFileKeys } from '../common/config.js';
import type { Parts } from '../common/keys.js';

const schema = z.object({ ...sharedFileKeys, r: z.number().int().positive().default(32) });

export const shiraFormat: FileFormat<typeof schema> = {
  schema,
  defaults: {
    ...baseDefaults,
    fan_in_fan_out: false,
    init_weights: true,
    mask_type: 'random',
    peft_type: 'SHIRA',
    r: 32,
    random_seed: null,
  },
  // How the places were chosen and how the values began: both are in the file as they became.
  carried: new Set([...carriedKeys, 'init_weights', 'mask_type', 'random_seed']),
};

/** indices [2, r · (out + in)]: outputs, then inputs; weight [r · (out + in)]. */
export const shiraParts: Parts<'indices' | 'values'> = {
  indices: { suffix: '.shira_indices', index: true },
  values: { suffix: '.shira_weight' },
};
