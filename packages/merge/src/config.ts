import { codeKey, PeftError } from '@peftjs/core';
import type * as z from 'zod';
import type { BoundMerge, Merge } from './define.js';

/**
 * Checks options against a method's schema, with defaults filled in. Keys may be in camelCase or snake_case.
 * @throws PeftError CONFIG_INVALID listing every problem
 */
export function resolveMerge<Schema extends z.ZodType>(merge: Merge<Schema>, options: unknown): z.output<Schema> {
  const given: Record<string, unknown> = {};
  const problems: string[] = [];
  for (const [key, value] of Object.entries(options as object)) {
    const name = codeKey(key);
    if (name in given) problems.push(`${name} is given twice`);
    if (value !== undefined) given[name] = value;
  }
  const parsed = merge.config.safeParse(given);
  const known = 'shape' in merge.config ? Object.keys(merge.config.shape as object) : [];
  for (const { path, message } of parsed.error?.issues ?? [])
    problems.push(`${path.length > 0 ? `${path.join('.')}: ` : ''}${message}`);
  if (!parsed.success || problems.length > 0) {
    const keys = known.length > 0 ? ` It takes ${known.join(', ')}.` : ' It takes no options.';
    throw new PeftError('CONFIG_INVALID', `${merge.name}: ${problems.join('; ')}.${keys}`, {
      details: { merge: merge.name, problems },
    });
  }
  return parsed.data;
}

/**
 * The configuration of each model: the shared one with the values that the model has for itself.
 * @throws PeftError CONFIG_INVALID for a key that the method does not take for a single model, or a wrong value
 */
export function settingsOfEach<Schema extends z.ZodType>(
  { merge, config }: BoundMerge<Schema>,
  own: readonly (Readonly<Record<string, unknown>> | undefined)[],
): z.output<Schema>[] {
  return own.map((values, i) => {
    const entries = Object.entries(values ?? {}).map(([key, value]) => [codeKey(key), value] as const);
    const wrong = entries.filter(([key]) => !merge.perModel?.includes(key)).map(([key]) => key);
    if (wrong.length > 0) {
      const allowed = merge.perModel?.length ? `only ${merge.perModel.join(', ')}` : 'nothing';
      const problem = `${merge.name}: model ${i} has ${wrong.join(', ')} of its own; ${allowed} may differ by model.`;
      throw new PeftError('CONFIG_INVALID', problem, { details: { merge: merge.name, model: i, keys: wrong } });
    }
    return entries.length === 0
      ? config
      : resolveMerge(merge, { ...(config as object), ...Object.fromEntries(entries) });
  });
}
