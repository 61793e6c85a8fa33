import * as z from 'zod';

/** Starts by name. */
export const variants = ['language', 'paper', 'vit'] as const;
/** Bits of a saved coefficient. */
export const widths = [32, 8, 4] as const;

/** What NOLA lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const NolaConfig = z.strictObject({
  r: z.number().int().positive().default(8).meta({ description: 'Rank of the update: how many directions it has.' }),
  alpha: z.number().positive().default(2).meta({ description: 'The update is scaled by alpha / r.' }),
  bases: z
    .number()
    .int()
    .positive()
    .default(256)
    .meta({ description: 'Random matrices that each factor is a sum of: a module trains twice as many numbers.' }),
  variant: z.enum(variants).default('language').meta({
    description:
      'Start: language (a random A0 and coefficients of zero, as for language models), paper (no A0, random coefficients of A), vit (no A0, the mean of both bases, which changes the model at once).',
  }),
  bits: z
    .literal(widths)
    .default(32)
    .meta({ description: 'Bits of a coefficient in the saved file; 8 and 4 round it.' }),
  cache: z
    .number()
    .nonnegative()
    .default(256)
    .meta({ description: 'Megabytes of bases kept from step to step; the rest is made anew from the seed each time.' }),
});

export type NolaSettings = z.output<typeof NolaConfig>;
export type NolaOptions = z.input<typeof NolaConfig>;
