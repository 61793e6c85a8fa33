import * as z from 'zod';

/** What VeRA lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const VeraConfig = z.strictObject({
  r: z.number().int().positive().default(256).meta({
    description: 'Rank of the shared matrices; far larger than in LoRA, since a rank costs one number a module.',
  }),
  dInitial: z
    .number()
    .refine((d) => d !== 0, 'must not be 0: b starts at 0, and with both at 0 nothing would ever train')
    .default(0.1)
    .meta({ description: 'Start of every element of d.' }),
  projectionPrngKey: z.number().int().default(0).meta({
    description: 'Seed of the shared matrices, the same numbers as in PEFT; the seed of the run has no part.',
  }),
  saveProjection: z.boolean().default(true).meta({
    description: 'Save the shared matrices; without them a reader draws them again from projectionPrngKey.',
  }),
  fanInFanOut: z
    .boolean()
    .optional()
    .meta({ description: 'A hint of PEFT files; how a weight lies is decided by the layer itself.' }),
});

export type VeraSettings = z.output<typeof VeraConfig>;
export type VeraOptions = z.input<typeof VeraConfig>;
