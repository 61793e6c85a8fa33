import * as z from 'zod';

const part = z.number().min(0).lt(1);

/** What the paper lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const DseeConfig = z.strictObject({
  r: z.number().int().positive().default(16).meta({ description: 'Rank of U V.' }),
  alpha: z.number().positive().default(32).meta({ description: 'The update U V + S2 is scaled by alpha / r.' }),
  entries: z
    .number()
    .int()
    .positive()
    .default(64)
    .meta({ description: 'Entries of S2 in each weight that has an update: N in the paper.' }),
  roles: z
    .array(z.enum(['query', 'key', 'value', 'query-key-value', 'output', 'up', 'gate', 'down', 'other']))
    .min(1)
    .default(['query', 'value'])
    .meta({ description: 'Modules that get an update, by what they do in their layer; S1 is made for all targets.' }),
  support: z.enum(['decomposition', 'magnitude', 'random']).default('decomposition').meta({
    description:
      "Where S2 has its entries: where the weight differs most from a low-rank matrix, at the weight's largest ones, or at random.",
  }),
  supportRank: z.number().int().positive().default(16).meta({
    description:
      "Rank up to which the decomposition's low-rank part grows, at most half of the weight's smaller side; the authors' code goes to 496.",
  }),
  threshold: z.number().positive().default(0.25).meta({
    description:
      "What counts as sparse in the decomposition, in standard deviations of the weight; the authors' 0.01 is a quarter of BERT's.",
  }),
  ratio: part
    .default(0.2)
    .meta({ description: 'Part of the entries that S1 removes from weights without an update, by their size.' }),
  updatedRatio: part
    .default(0.2)
    .meta({ description: 'Part of the entries that S1 removes from weights with an update, by `importance`.' }),
  importance: z.enum(['ABS', 'WABS', 'WABS-released', 'W', 'random']).default('ABS').meta({
    description:
      'What entries of weights with an update are ranked by: |s(UV+S2)|, |W+s(UV+S2)|, |W+UV+sS2| as in the released code, |W|, or chance.',
  }),
  scope: z
    .enum(['global', 'local'])
    .default('global')
    .meta({ description: 'One cut over all weights with an update and one over the others, or one for each weight.' }),
  trainShare: z
    .number()
    .positive()
    .lt(1)
    .default(0.5)
    .meta({ description: 'Part of the updates before S1 is made; the others train on with it.' }),
});

export type DseeSettings = z.output<typeof DseeConfig>;
export type DseeOptions = z.input<typeof DseeConfig>;
