import { PeftError } from '@peftjs/core';
import * as z from 'zod';

/** How many numbers change: a share of those there are, or a count. */
export const budgetKeys = {
  density: z
    .number()
    .positive()
    .max(1)
    .default(0.01)
    .meta({ description: 'Share of the numbers of the targets that may change.' }),
  count: z
    .number()
    .int()
    .positive()
    .optional()
    .meta({ description: 'How many numbers may change, in place of a share.' }),
};

export interface Budget {
  readonly density: number;
  readonly count?: number | undefined;
}

/**
 * The budget as a count.
 * @param all numbers of all targets
 * @param least fewer make no sense
 * @throws PeftError CONFIG_INVALID when it is more than there are, or less than `least`
 */
export function budgetOf(method: string, { density, count }: Budget, all: number, least = 1): number {
  const budget = count ?? Math.trunc(density * all);
  const said = count === undefined ? `density ${density} of ${all} numbers is ${budget}` : `count is ${count}`;
  if (budget > all) throw new PeftError('CONFIG_INVALID', `${method}: ${said}, and the targets have ${all}: lower it.`);
  if (budget < least)
    throw new PeftError('CONFIG_INVALID', `${method}: ${said}, and at least ${least} are needed: raise it.`);
  return budget;
}
