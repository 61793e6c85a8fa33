import * as z from 'zod';

const rank = z.number().int().positive();
const part = z.number().min(0).lt(1);

/** What the paper lets you choose. Keys that every method has (target modules, bias) come from core. */
export const PstConfig = z
  .strictObject({
    sparsity: part.default(0.5).meta({ description: 'Part of the numbers of each weight that is zero in the end.' }),
    initialSparsity: part.default(0).meta({ description: 'The same at the start.' }),
    initialWarmup: part.default(0.1).meta({ description: 'Part of the run before the sparsity begins to grow.' }),
    finalWarmup: part.default(0.2).meta({ description: 'Part of the run after it has stopped to grow.' }),
    r: rank.default(8).meta({ description: 'Rank of the update of the weight.' }),
    scoreRank: rank.default(8).meta({ description: 'Rank of the trained part of the scores.' }),
    beta: z.number().positive().default(1).meta({ description: 'Scale of the update of the weight.' }),
    alpha1: z.number().nonnegative().default(1).meta({ description: 'Scale of the low-rank part of the scores.' }),
    alpha2: z.number().nonnegative().default(1).meta({ description: 'Scale of the scores of rows and columns.' }),
    init: z
      .number()
      .positive()
      .default(1)
      .meta({ description: 'Standard deviation of the factors that start at random; the others start at zero.' }),
  })
  .refine(({ initialWarmup, finalWarmup }) => initialWarmup + finalWarmup < 1, {
    path: ['finalWarmup'],
    message: 'leaves no step between the warm-ups: initialWarmup + finalWarmup must be below 1',
  })
  .refine(({ sparsity, initialSparsity }) => initialSparsity <= sparsity, {
    path: ['initialSparsity'],
    message: 'is above sparsity: zeros grow in number, they do not shrink',
  });

export type PstSettings = z.output<typeof PstConfig>;
export type PstOptions = z.input<typeof PstConfig>;
