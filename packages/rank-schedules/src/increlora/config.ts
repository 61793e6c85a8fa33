import type { Target } from '@peftjs/core';
import * as z from 'zod';

const count = z.number().int().positive();

/** What the paper lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const IncreloraConfig = z.strictObject({
  initialRank: count.default(1).meta({ description: 'Rank of every module at the start.' }),
  targetRank: z.number().positive().default(2).meta({ description: 'Rank at the end, mean over the modules.' }),
  maxRank: count.optional().meta({
    description:
      'Largest rank of one module: its slots are there from the start. Default: 4 × targetRank, or what its matrix can have.',
  }),
  alpha: z.number().positive().default(16).meta({ description: 'The update is scaled by alpha / present rank.' }),
  topH: count.default(5).meta({ description: 'Modules that grow at a time: those with the largest importance.' }),
  added: count
    .optional()
    .meta({ description: 'Ranks that a module grows by. Default: half of targetRank, at least 1, as in the paper.' }),
  warmup: z.number().int().nonnegative().optional().meta({
    description: 'Updates before the first growth. Default: a twentieth of the run.',
  }),
  interval: count.optional().meta({
    description: 'Updates between growths. Default: so that all is grown after two thirds of the run.',
  }),
  beta1: z.number().min(0).lt(1).default(0.85).meta({ description: 'How much of the old importance stays.' }),
  beta2: z.number().min(0).lt(1).default(0.85).meta({ description: 'How much of the old uncertainty stays.' }),
  orthogonality: z.number().nonnegative().default(0.1).meta({ description: 'Weight of the regulariser.' }),
  variant: z.enum(['paper', 'code']).default('paper').meta({
    description:
      "paper: all vectors of a factor are made orthogonal to each other, and exactly topH modules grow. code: as the authors' program does it: vectors added later are only normalised, and all modules as important as the last of the topH grow.",
  }),
});

export type IncreloraSettings = z.output<typeof IncreloraConfig>;
export type IncreloraOptions = z.input<typeof IncreloraConfig>;

type Extents = Pick<Target, 'in' | 'out'>;

/** Ranks that a module grows by at a time: 1 for a target of 2, 2 for 4, 3 for 6, 4 for 8 (section 4 of the paper). */
export const addedRank = ({ added, targetRank }: IncreloraSettings): number =>
  added ?? Math.max(1, Math.floor(targetRank / 2));

/** The largest rank that the matrix of a target can have. */
export const fullRank = (target: Extents): number => Math.min(target.in, target.out);

export const largestRank = ({ maxRank, targetRank }: IncreloraSettings, target: Extents): number =>
  maxRank ?? Math.min(Math.ceil(4 * targetRank), fullRank(target));

/** Slots of a module: its largest rank and a reserve behind it. */
export const slotsOf = (c: IncreloraSettings, target: Extents): number => largestRank(c, target) + addedRank(c);
