import * as z from 'zod';
import { budgetKeys } from '../budget.js';

const weight = z.number().nonnegative().default(0);

/** What LT-SFT lets you choose. Target modules and modules to save come with every method. */
export const SftConfig = z.strictObject({
  ...budgetKeys,
  iterations: z.number().int().positive().default(1).meta({
    description: 'How often it trains in full, selects and trains again; each selects its part of the budget.',
  }),
  fullShare: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.5)
    .meta({ description: 'Share of the updates spent on finding out which numbers to change.' }),
  fullL1: weight.meta({ description: 'Pull of the full phase towards the base (mean of |θ - θ⁰|).' }),
  sparseL1: weight.meta({ description: 'The same in the sparse phase.' }),
  layerNorms: z.boolean().default(false).meta({ description: 'Change the numbers of norms too.' }),
  biases: z.boolean().default(true).meta({ description: 'Change the biases of the targets too.' }),
});

export type SftSettings = z.output<typeof SftConfig>;
export type SftOptions = z.input<typeof SftConfig>;
