import * as z from 'zod';

/** What all codecs of this package let you choose beside their own options. */
export const shared = {
  exclude: z
    .array(z.string())
    .default([])
    .meta({ description: 'Modules that are not compressed, by the last parts of their path.' }),
  kept: z.enum(['f32', 'f16']).default('f32').meta({
    description: 'How vectors and excluded parameters are kept: exactly, or rounded to half precision.',
  }),
};

export interface SharedSettings {
  readonly exclude: readonly string[];
  readonly kept: 'f32' | 'f16';
}
