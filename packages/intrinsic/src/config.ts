import * as z from 'zod';

/** What the paper lets you choose. Keys that every method has (target modules, bias) come from core. */
export const IntrinsicConfig = z.strictObject({
  dimension: z
    .number()
    .int()
    .positive()
    .default(200)
    .meta({ description: 'How many numbers are trained, for all targets together.' }),
  structureAware: z
    .boolean()
    .default(false)
    .meta({ description: 'Give every target a scale of its own, trained too.' }),
  cache: z
    .number()
    .nonnegative()
    .default(256)
    .meta({ description: 'Megabytes of signs kept from step to step; the rest is made anew from the seed each time.' }),
});

export type IntrinsicSettings = z.output<typeof IntrinsicConfig>;
export type IntrinsicOptions = z.input<typeof IntrinsicConfig>;
