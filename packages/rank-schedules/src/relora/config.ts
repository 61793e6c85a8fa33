import * as z from 'zod';

const count = z.number().int().positive();

/** What the paper lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const ReloraConfig = z.strictObject({
  r: count.default(8).meta({ description: 'Rank of what is trained between two restarts.' }),
  alpha: z.number().positive().default(8).meta({ description: 'The update is scaled by alpha / r.' }),
  restarts: z.number().int().nonnegative().default(2).meta({
    description: 'How often the factors are put aside and new ones begun, at equal distances.',
  }),
});

export type ReloraSettings = z.output<typeof ReloraConfig>;
export type ReloraOptions = z.input<typeof ReloraConfig>;
