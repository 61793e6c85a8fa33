import * as z from 'zod';

const strength = z.number().nonnegative();

/** What SoRA lets you choose. Keys that every method has (target modules, dropout, bias) come from core. */
export const SoraConfig = z
  .strictObject({
    r: z
      .number()
      .int()
      .positive()
      .default(8)
      .meta({ description: 'Rank that training begins with; gates that reach zero take their direction away.' }),
    alpha: z
      .number()
      .positive()
      .default(16)
      .meta({ description: 'The update is scaled by alpha / r, whatever rank is left at the end.' }),
    lambda: strength.default(1e-3).meta({
      description:
        'How hard gates are drawn to zero: by lambda times their rate at every update (threshold: paper), or by lambda itself.',
    }),
    threshold: z.enum(['paper', 'constant', 'official']).default('paper').meta({
      description:
        'paper (soft threshold of lambda times the rate), constant (soft threshold of lambda, which also acts while the rate is 0), official (as constant, but everything below two lambda dies, as in the released code).',
    }),
    gateRule: z.enum(['gradient', 'adamw']).default('gradient').meta({
      description: 'Update of the gates before the threshold: a gradient step (paper) or AdamW (released code).',
    }),
    gateLr: z.number().positive().optional().meta({
      description:
        'Rate of the gates, scheduled like all others. Default: 0.5 for gradient, that of the run for adamw.',
    }),
    l1: strength.default(0).meta({
      description: 'Weight of the mean of |g| in the loss, which the released code has beside the threshold.',
    }),
    schedule: z
      .strictObject({
        stages: z.number().int().min(2).default(7).meta({ description: 'Number of stages.' }),
        from: strength.default(0).meta({ description: 'lambda of the first stage; the last one has lambda itself.' }),
        shape: z
          .enum(['linear', 'log_linear', 'exp_linear'])
          .default('linear')
          .meta({ description: 'How lambda grows: evenly, as the logarithm of even steps, or by even factors.' }),
        first: z
          .number()
          .positive()
          .default(50 / 15)
          .meta({ description: 'Length of the first stage, over that of each other one.' }),
      })
      .refine(({ shape, from }) => shape !== 'exp_linear' || from > 0, {
        path: ['from'],
        message: 'must be above 0 where lambda grows by factors',
      })
      .optional()
      .meta({
        description:
          'Trains in stages of growing lambda, each from where the last one ended, with the schedule of the rate anew.',
      }),
  })
  .refine(({ schedule, lambda }) => !schedule || schedule.from <= lambda, {
    path: ['schedule', 'from'],
    message: 'must not be above lambda, which the stages grow to',
  });

export type SoraSettings = z.output<typeof SoraConfig>;
export type SoraOptions = z.input<typeof SoraConfig>;
