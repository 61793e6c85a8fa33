import * as z from 'zod';

/** What the paper lets you choose. Keys that every method has (target modules, bias) come from core. */
export const S2ftConfig = z.strictObject({
  ratio: z
    .number()
    .positive()
    .max(1)
    .default(0.03)
    .meta({ description: 'Part of the channels (or heads) of a role that is trained, over all layers together.' }),
  roles: z
    .array(z.enum(['query', 'key', 'value', 'output', 'up', 'gate', 'down']))
    .min(1)
    .default(['output', 'down'])
    .meta({ description: 'Modules that are trained, by what they do in their layer; other targets are left out.' }),
  select: z
    .enum(['random', 'weight', 'activation', 'gradient'])
    .default('random')
    .meta({ description: 'What decides which channels and heads are trained.' }),
  largest: z
    .boolean()
    .default(false)
    .meta({ description: 'Take those with the largest score instead of the smallest.' }),
  batches: z
    .number()
    .int()
    .positive()
    .default(4)
    .meta({ description: 'Batches of the training data that activations and gradients are looked at in.' }),
  channels: z
    .number()
    .int()
    .positive()
    .optional()
    .meta({ description: 'Rows or columns of a target, where their number is known instead of a ratio.' }),
  ratioPattern: z
    .record(z.string(), z.number().positive().max(1))
    .default({})
    .meta({ description: 'Ratios of the modules that match, e.g. { o_proj: 0.05, down_proj: 0.02 }.' }),
});

export type S2ftSettings = z.output<typeof S2ftConfig>;
export type S2ftOptions = z.input<typeof S2ftConfig>;
