import { Problems } from '@peftjs/core';
import * as z from 'zod';

const part = z.number().positive().max(1);
const count = z.number().int().positive();

/** What the paper lets you choose. */
export const IstConfig = z.strictObject({
  trained: part.default(0.25).meta({ description: 'Part of the layers that an update trains, at least one.' }),
  interval: count.default(10).meta({ description: 'Updates between looks at the importance of layers.' }),
  subsets: count.min(2).default(3).meta({ description: 'Sets of layers that a look tries.' }),
  suppressed: part.default(0.5).meta({ description: 'Part of the layers in such a set, at least one.' }),
  factor: z
    .number()
    .min(0)
    .lt(1)
    .default(0.25)
    .meta({ description: 'What the update of a suppressed layer is scaled by.' }),
  rate: z.number().positive().default(10).meta({ description: 'How fast importance follows the rewards.' }),
  rows: count.default(16).meta({ description: 'Training rows that a look takes the loss of.' }),
  random: z.boolean().default(false).meta({ description: 'All layers equally likely, without looks (RST).' }),
});

export type IstSettings = z.output<typeof IstConfig>;
export type IstOptions = z.input<typeof IstConfig>;

/** @throws PeftError CONFIG_INVALID with everything wrong with the options */
export function istSettings(options: IstOptions): IstSettings {
  const parsed = IstConfig.safeParse(options);
  if (parsed.success) return parsed.data;
  const problems = new Problems();
  for (const issue of parsed.error.issues)
    problems.add([issue.path.join('.'), issue.message].filter(Boolean).join(': '));
  problems.throwIfAny('CONFIG_INVALID', 'ist');
  throw parsed.error;
}
