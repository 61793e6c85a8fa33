import * as z from 'zod';

const count = z.number().int().positive();

/** What the paper lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const ReloraConfig = z.strictObject({
  r: count.default(8).meta({ description: 'Rank of what is trained between two restarts.' }),
  alpha: z.number().positive().default(8).meta({ description: 'The update is scaled by alpha / r.' }),
  schedule: z.enum(['jagged', 'restart']).default('jagged').meta({
    description:
      "The rate and the optimizer at a restart. jagged: one schedule for the whole run, to which the rate rises again from zero, and most of the optimizer's state is cleared (the paper). restart: both begin anew with every round.",
  }),
  warmup: z.number().min(0).max(1).default(0.1).meta({
    description: 'Part of a round over which the rate rises after a restart, with schedule jagged.',
  }),
  cleared: z.number().min(0).max(1).default(0.99).meta({
    description: "Part of the optimizer's moments that a restart sets to zero, the smallest, with schedule jagged.",
  }),
  restarts: z.number().int().nonnegative().default(2).meta({
    description: 'How often the factors are put aside and new ones begun, at equal distances.',
  }),
});

export type ReloraSettings = z.output<typeof ReloraConfig>;
export type ReloraOptions = z.input<typeof ReloraConfig>;
