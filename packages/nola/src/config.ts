import { z } from 'zod';

/** What the paper lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const NolaConfig = z.strictObject({
  r: z.number().int().positive().default(8).meta({ description: 'Rank of the update: how many directions it has.' }),
  alpha: z.number().positive().default(16).meta({ description: 'The update is scaled by alpha / r.' }),
});

export type NolaSettings = z.output<typeof NolaConfig>;
export type NolaOptions = z.input<typeof NolaConfig>;
