import * as z from 'zod';
import { pythonRegex } from '../../adapter/python-regex.js';
import { baseDefaults, carriedKeys, type FileFormat, ruleFileKeys, sharedFileKeys } from '../common/config.js';
import type { Parts } from '../common/keys.js';

const schema = z.object({
  ...sharedFileKeys,
  exclude_modules: ruleFileKeys.exclude_modules,
  feedforward_modules: z.union([z.string(), z.array(z.string())]).nullish(),
});

export type Ia3File = z.output<typeof schema>;

export const ia3Format: FileFormat<typeof schema> = {
  schema,
  defaults: {
    ...baseDefaults,
    exclude_modules: null,
    fan_in_fan_out: false,
    feedforward_modules: null,
    init_ia3_weights: true,
    peft_type: 'IA3',
  },
  carried: new Set([...carriedKeys, 'init_ia3_weights']),
};

/** [out, 1] for outputs, [1, in] for inputs. */
export const ia3Parts: Parts<'vector'> = { vector: { suffix: '.ia3_l' } };

/** Whether PEFT multiplies the inputs of a module: its path ends with a name, or the whole of it matches an expression. */
export function isFeedforward(modules: NonNullable<Ia3File['feedforward_modules']>): (path: string) => boolean {
  if (typeof modules !== 'string') return (path) => modules.some((name) => path.endsWith(name));
  const regex = pythonRegex(modules, 'feedforward_modules');
  return (path) => regex.fullMatch(path);
}
