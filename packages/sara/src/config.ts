import * as z from 'zod';

/** What the paper and its code let you choose. Keys that every method has (target modules, bias) come from core. */
export const SaraConfig = z.strictObject({
  threshold: z
    .number()
    .positive()
    .default(2e-3)
    .meta({ description: 'Numbers of a weight below this magnitude are trained.' }),
  count: z
    .number()
    .int()
    .positive()
    .optional()
    .meta({ description: 'How many numbers of a weight are trained, its smallest, in place of a threshold.' }),
  progressive: z
    .boolean()
    .default(true)
    .meta({ description: 'In the middle of the run, go on with the numbers that are still below the threshold.' }),
  lambdaRank: z
    .number()
    .nonnegative()
    .default(5e-4)
    .meta({ description: 'Weight of the nuclear norm of one weight a step, which keeps the change low in rank.' }),
  pull: z.enum(['change', 'weights']).default('change').meta({
    description: "Whose nuclear norm: that of the trained numbers' change (the paper), or of the numbers (the code).",
  }),
  rankAbove: z
    .number()
    .int()
    .nonnegative()
    .default(64)
    .meta({ description: 'Only weights with more rows and columns than this are pulled.' }),
  thresholdPattern: z
    .record(z.string(), z.number().positive())
    .default({})
    .meta({ description: 'Other thresholds for the modules that a key matches.' }),
});

export type SaraSettings = z.output<typeof SaraConfig>;
export type SaraOptions = z.input<typeof SaraConfig>;
