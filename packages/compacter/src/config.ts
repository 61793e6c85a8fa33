import * as z from 'zod';

/** What the paper lets you choose. Keys that every method has (target modules, bias) come from core. */
export const CompacterConfig = z.strictObject({
  n: z
    .number()
    .int()
    .positive()
    .default(4)
    .meta({ description: 'Number of Kronecker products that a layer is the sum of; all widths divide by it.' }),
  reductionFactor: z
    .number()
    .positive()
    .default(32)
    .meta({ description: "The bottleneck's width is that of the module divided by this." }),
  roles: z
    .array(z.enum(['query', 'key', 'value', 'output', 'up', 'gate', 'down']))
    .min(1)
    .default(['output', 'down'])
    .meta({
      description:
        'Modules that get a bottleneck, by what they do in their layer; output and down: Compacter, down alone: Compacter++.',
    }),
  norms: z.boolean().default(true).meta({ description: 'Train the norms among the targets too.' }),
  activation: z
    .enum(['gelu_new', 'gelu', 'relu', 'tanh'])
    .default('gelu_new')
    .meta({ description: 'What is between the two layers.' }),
  phmInitRange: z
    .number()
    .positive()
    .default(1e-4)
    .meta({ description: 'Standard deviation of the shared matrices at the start.' }),
});

export type CompacterSettings = z.output<typeof CompacterConfig>;
export type CompacterOptions = z.input<typeof CompacterConfig>;
