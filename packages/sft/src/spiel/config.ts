import * as z from 'zod';
import { budgetKeys } from '../budget.js';

const coefficient = z.number().gt(0).lt(1);

/** What SpIEL lets you choose. Target modules and modules to save come with every method. */
export const SpielConfig = z
  .strictObject({
    ...budgetKeys,
    criterion: z.enum(['ag', 'ma']).default('ag').meta({
      description: 'How new coordinates are judged: ag by accumulated gradients, ma by the momentum of SM3.',
    }),
    reselectEvery: z
      .number()
      .int()
      .min(2)
      .default(20)
      .meta({ description: 'Updates from one reselection to the next.' }),
    accumulateFor: z
      .number()
      .int()
      .positive()
      .default(5)
      .meta({ description: 'Updates of each such interval after which the reselection takes place.' }),
    replace: z
      .number()
      .min(0)
      .max(1)
      .default(0.2)
      .meta({ description: 'Share of the coordinates that a reselection replaces at the start; it falls to zero.' }),
    policy: z.enum(['linear', 'cosine']).default('linear').meta({
      description: 'How that share falls.',
    }),
    replaceFirst: z.boolean().default(true).meta({
      description:
        'With linear, the very first reselection replaces all: the start is random. A run that goes on from an adapter has none such.',
    }),
    betas: z
      .tuple([coefficient, coefficient])
      .default([0.9, 0.999])
      .meta({ description: 'What stays of the mean of a gradient and of its square at an update (ag).' }),
    eps: z.number().positive().optional().meta({ description: 'Default: 1e-6 with ag, 1e-8 with ma.' }),
  })
  .refine(({ accumulateFor, reselectEvery }) => accumulateFor < reselectEvery, {
    path: ['accumulateFor'],
    message: 'must be less than reselectEvery',
  });

export type SpielSettings = z.output<typeof SpielConfig>;
export type SpielOptions = z.input<typeof SpielConfig>;
