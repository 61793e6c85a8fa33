import type { Adapter } from '../delta/delta.js';
import { Problems } from '../errors.js';
import type { Example, TaskModel } from './model.js';

/**
 * Refuses adapters that say they were made for another base. The base's weights are read for it, once a model, where one
 * says so; a stack looks at its own adapters then too.
 * @throws PeftError ADAPTER_MISMATCH with both digests of each
 */
export async function requireBase<E extends Example>(
  model: Pick<TaskModel<E>, 'name' | 'digest' | 'stacked'>,
  adapters: readonly Adapter[],
): Promise<void> {
  const saying = adapters.filter(({ base }) => base?.digest !== undefined);
  if (saying.length === 0 && !model.stacked) return;
  const digest = await model.digest();
  const problems = new Problems();
  for (const { base } of saying)
    if (base!.digest !== digest)
      problems.add(
        `it was made for ${base!.name ?? 'a base'} with digest ${base!.digest}, this one has ${digest}. Use the model it was made for, or leave the digest out (base.digest, in peftjs.json beside its files) where this one is meant.`,
      );
  problems.throwIfAny('ADAPTER_MISMATCH', `An adapter does not belong to the base "${model.name}"`);
}
