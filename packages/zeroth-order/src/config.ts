import * as z from 'zod';

/** What the papers let you choose. Keys that every method has (target modules, bias) come from core. */
export const SparseMezoConfig = z.strictObject({
  epsilon: z
    .number()
    .positive()
    .default(1e-3)
    .meta({ description: 'How far the weights are moved along the random direction, each way.' }),
  sparsity: z
    .number()
    .positive()
    .max(1)
    .default(0.75)
    .meta({ description: 'Part of the numbers of each weight, the smallest, that is trained; 1 is plain MeZO.' }),
  threshold: z
    .number()
    .positive()
    .optional()
    .meta({ description: 'Magnitude up to which a number is trained, where it is known instead of a part.' }),
  weightDecay: z
    .number()
    .nonnegative()
    .default(0)
    .meta({ description: 'How strongly the numbers that a step moves are drawn to zero.' }),
  sparsityPattern: z
    .record(z.string(), z.number().positive().max(1))
    .default({})
    .meta({ description: 'Other parts for the modules that a key matches.' }),
});

export type SparseMezoSettings = z.output<typeof SparseMezoConfig>;
export type SparseMezoOptions = z.input<typeof SparseMezoConfig>;
