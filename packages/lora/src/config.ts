import * as z from 'zod';

const rank = z.number().int().positive();

/** How EVA looks at the data. */
export const EvaConfig = z.strictObject({
  rho: z.number().min(1).default(2).meta({ description: 'No module gets more than rho times its rank.' }),
  tau: z
    .number()
    .positive()
    .max(1)
    .default(0.99)
    .meta({ description: 'A direction is settled when a batch turns it by less than this cosine.' }),
  batches: rank.default(100).meta({ description: 'Most batches to look at.' }),
});

/** What LoRA and its drop-in variants let you choose. Target modules, dropout and biases come with every method. */
export const LoraConfig = z
  .strictObject({
    r: rank.default(8).meta({ description: 'Rank of the update: how many directions it has.' }),
    alpha: z.number().positive().default(8).meta({ description: 'The update is scaled by alpha / r.' }),
    rslora: z
      .boolean()
      .default(false)
      .meta({ description: 'Scale by alpha / sqrt(r), which keeps high ranks learning (rsLoRA, arXiv 2312.03732).' }),
    dora: z.boolean().default(false).meta({
      description:
        'Train the length of each output row of the weight apart from its direction (DoRA, arXiv 2402.09353).',
    }),
    init: z
      .union([z.boolean(), z.enum(['gaussian', 'orthogonal', 'pissa', 'olora', 'eva'])])
      .default(true)
      .meta({
        description:
          'Start: true (A uniform, B zero), gaussian (A normal, B zero), orthogonal (both factors, product zero), pissa and olora (parts of the weight, arXiv 2404.02948 and 2406.01775), eva (directions of the data, ranks by their share, arXiv 2410.07170), false (both random: changes the model at once).',
      }),
    eva: EvaConfig.optional().meta({ description: 'How the start eva looks at the data.' }),
    loraBias: z.boolean().default(false).meta({ description: 'Give B a bias of its own.' }),
    fanInFanOut: z
      .boolean()
      .optional()
      .meta({ description: 'A hint of PEFT files; how a weight lies is decided by the layer itself.' }),
    rankPattern: z
      .record(z.string(), rank)
      .default({})
      .meta({ description: 'Other ranks for the modules that a key matches.' }),
    alphaPattern: z
      .record(z.string(), z.number().positive())
      .default({})
      .meta({ description: 'Other alphas for the modules that a key matches.' }),
    plus: z
      .strictObject({
        ratio: z.number().positive().default(16).meta({ description: "B's learning rate over A's." }),
        embeddingLr: z
          .number()
          .positive()
          .default(1e-6)
          .meta({ description: 'Learning rate of both factors of embeddings.' }),
      })
      .optional()
      .meta({ description: 'LoRA+: B learns faster than A (arXiv 2402.12354).' }),
    fa: z.boolean().default(false).meta({
      description: 'LoRA-FA: A stays at its start and only B is trained, with a corrected gradient (arXiv 2308.03303).',
    }),
  })
  .refine(({ eva, init }) => !eva || init === 'eva', { path: ['eva'], message: 'has no effect without init "eva"' });

export type LoraSettings = z.output<typeof LoraConfig>;
export type LoraOptions = z.input<typeof LoraConfig>;
export type EvaSettings = z.output<typeof EvaConfig>;
