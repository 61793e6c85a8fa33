import * as z from 'zod';

const count = z.number().int().positive();

/** What the paper lets you choose. Keys that every method has (target modules, bias) come from core. */
export const GaloreConfig = z.strictObject({
  r: count.default(64).meta({ description: 'Rank that gradients are projected to.' }),
  interval: count.default(200).meta({ description: 'Updates after which the projection is found anew.' }),
  scale: z.number().positive().default(0.25).meta({ description: 'Factor on the projected updates.' }),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .default([0.9, 0.999])
    .meta({ description: 'How much of the old moments stays at an update.' }),
  eps: z.number().positive().default(1e-8).meta({ description: 'Keeps the division by the second moment finite.' }),
  save: z.enum(['change', 'replaced']).default('change').meta({
    description: 'What is saved: the change, which adds to other adapters, or the trained weights, exactly.',
  }),
});

export type GaloreSettings = z.output<typeof GaloreConfig>;
export type GaloreOptions = z.input<typeof GaloreConfig>;
