import * as z from 'zod';
import { baseDefaults, carriedKeys, type FileFormat, ruleFileKeys, sharedFileKeys } from '../common/config.js';
import type { Parts } from '../common/keys.js';

const schema = z.object({
  ...sharedFileKeys,
  layers_to_transform: ruleFileKeys.layers_to_transform,
  layers_pattern: ruleFileKeys.layers_pattern,
  r: z.number().int().positive().default(256),
  projection_prng_key: z.number().int().default(0),
  save_projection: z.boolean().default(true),
  d_initial: z.number().nullish(),
  vera_dropout: z.number().min(0).max(1).nullish(),
  bias: z.enum(['none', 'all', 'vera_only']).nullish(),
});

export type VeraFile = z.output<typeof schema>;

export const veraFormat: FileFormat<typeof schema> = {
  schema,
  defaults: {
    ...baseDefaults,
    bias: 'none',
    d_initial: 0.1,
    fan_in_fan_out: false,
    init_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    peft_type: 'VERA',
    projection_prng_key: 0,
    r: 256,
    save_projection: true,
    vera_dropout: 0,
  },
  carried: new Set([...carriedKeys, 'init_weights']),
  names: { dropout: 'vera_dropout' },
};

/** b [out], d [r]. */
export const veraParts: Parts<'b' | 'd'> = { b: { suffix: '.vera_lambda_b' }, d: { suffix: '.vera_lambda_d' } };

/** The projections, which belong to no module. */
export const projectionKeys = { A: 'base_model.vera_A', B: 'base_model.vera_B' } as const;
