import * as z from 'zod';

/** What the paper lets you choose. Keys that every method has (target modules, bias) come from core. */
export const HftConfig = z
  .strictObject({
    ratio: z.number().positive().max(1).default(0.5).meta({
      description: 'Part of the modules of a category (attention, feed-forward, norms) that a round trains.',
    }),
    rounds: z.number().int().positive().default(1).meta({
      description:
        'How often other modules are chosen, in equal parts of the run. The next round goes on from the last.',
    }),
    selection: z
      .array(z.array(z.string()).min(1))
      .min(1)
      .optional()
      .meta({ description: 'Paths of the modules that each round trains, in place of a random choice.' }),
    save: z.enum(['replaced', 'change']).default('replaced').meta({
      description:
        'What is saved of a trained parameter: itself, exactly, or its change, which adds to other adapters.',
    }),
  })
  .refine(({ rounds, selection }) => !selection || rounds === 1 || rounds === selection.length, {
    path: ['rounds'],
    message: 'is said by selection, which has a list of modules for each: leave it out',
  });

export type HftSettings = z.output<typeof HftConfig>;
export type HftOptions = z.input<typeof HftConfig>;

/** What a round is called, counted from 0. */
export const roundName = (round: number): string => `round ${round + 1}`;

/** Rounds of a run. */
export const roundsOf = ({ rounds, selection }: HftSettings): number => selection?.length ?? rounds;
