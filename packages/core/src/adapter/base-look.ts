import type * as z from 'zod';
import type { Adapter } from '../delta/delta.js';
import { PeftError } from '../errors.js';
import { toF32 } from '../tensor/convert.js';
import { createRandom } from '../tensor/random.js';
import type { TensorRef } from '../tensor/tensor.js';
import type { Plan } from './bind.js';
import type { Look } from './method.js';
import { sharedPath } from './names.js';

export interface BaseLookParts<Schema extends z.ZodType = z.ZodType> {
  readonly plan: Plan<Schema>;
  readonly parameters: ReadonlyMap<string, TensorRef>;
  readonly seed: number;
  readonly start?: Adapter;
}

/** What a method's plan may look at where there are no data: the base's weights, and an adapter to go on from. */
export function baseLook<Schema extends z.ZodType>({
  plan,
  parameters,
  seed,
  start,
}: BaseLookParts<Schema>): Look<z.output<Schema>> {
  const refuse = (what: string) =>
    new PeftError(
      'CONFIG_INVALID',
      `${plan.method.name} has to see ${what} of training data, and there are none here.`,
    );
  return {
    sites: plan.sites,
    rng: createRandom(seed).fork(sharedPath, 'plan'),
    ...(start && { start }),
    async weight(path) {
      const ref = parameters.get(path);
      if (!ref) throw new PeftError('INTERNAL', `The base has no parameter "${path}".`);
      return toF32(await ref.read());
    },
    activations: () => {
      throw refuse('activations');
    },
    gradients: () => {
      throw refuse('gradients');
    },
  };
}
