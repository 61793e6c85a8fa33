import * as z from 'zod';

/** How much survives, and what a survivor weighs. Defaults are the paper's, with an explicit density. */
export const CompeftConfig = z.strictObject({
  density: z
    .number()
    .min(1e-4)
    .max(1)
    .default(0.05)
    .meta({ description: 'Part of the numbers that keep their sign; the others become 0.' }),
  alpha: z.number().positive().default(1).meta({
    description: 'Factor of the magnitude that all survivors of a group share; small models want more than 1.',
  }),
  scope: z.enum(['global', 'factor', 'tensor']).default('global').meta({
    description:
      'What competes for the density and shares a magnitude: all tensors together (the paper), all A and all B of low-rank terms apart, or each tensor for itself.',
  }),
  rule: z.enum(['exact', 'official']).default('exact').meta({
    description:
      'How many survive: exact is ⌊d · density⌋ with ties to the lower index, official is one more with all ties, as the published code does.',
  }),
  magnitude: z.enum(['deviation', 'mean']).default('deviation').meta({
    description:
      'What alpha multiplies: the standard deviation of all numbers of the group (the paper), or the mean magnitude of the survivors (STC), which is nearest in squares.',
  }),
});

export type CompeftSettings = z.output<typeof CompeftConfig>;
export type CompeftOptions = z.input<typeof CompeftConfig>;
