import { underOwnPaths } from '../adapter/aliases.js';
import { setWeights } from '../adapter/own-weights.js';
import { onAllSharing } from '../adapter/shared-terms.js';
import { applyAdapter } from '../delta/apply.js';
import type { Adapter } from '../delta/delta.js';
import { builtinKinds, type Kinds } from '../delta/registry.js';
import { together } from '../delta/together.js';
import { PeftError } from '../errors.js';
import type { Example, TaskModel } from './model.js';
import { requireBase } from './require-base.js';

export interface StackOptions {
  readonly kinds?: Kinds;
}

/**
 * A model with frozen adapters in it, to train another on top: `train(stack(model, [language]), { method, ... })`. The new
 * adapter is the change on top of them and belongs to the same base, so `sum(language, task)` is what was trained, and
 * another language may take the first one's place. A head that both have is the new one's. The base's files are not
 * touched; weights that change are computed when they are read, float32 and rounded to the base's own dtype. Whether the
 * adapters were made for this base is looked at when its digest is asked for, as training does.
 * @throws PeftError ADAPTER_MISMATCH listing what does not fit, DELTA_CONFLICT for parameters that one of them replaces
 *   and another changes or replaces, CONFIG_UNSUPPORTED for a kind that is not known
 */
export function stack<E extends Example>(
  model: TaskModel<E>,
  adapters: readonly Adapter[],
  options: StackOptions = {},
): TaskModel<E> {
  const { kinds = builtinKinds } = options;
  const named = adapters.map((adapter) => underOwnPaths(adapter, model.targets));
  let { parameters } = model;
  for (const adapter of together(named)) {
    const own = onAllSharing(adapter, model.targets, kinds);
    const absent = [...own.delta.params.keys()].filter((path) => !parameters.has(path));
    if (absent.length > 0)
      throw new PeftError(
        'ADAPTER_MISMATCH',
        `The base has no parameters ${absent.join(', ')}: an adapter that adds biases cannot be trained on top of.`,
      );
    parameters = applyAdapter(parameters, own, { kinds }).parameters;
  }
  const changed = new Map([...parameters].filter(([path, ref]) => model.parameters.get(path) !== ref));
  return {
    ...model,
    async digest() {
      await requireBase(model, adapters);
      return model.digest();
    },
    parameters,
    targets: model.targets.map((target) => ({
      ...target,
      parameters: Object.fromEntries(
        Object.entries(target.parameters).map(([name, ref]) => [name, changed.get(`${target.path}.${name}`) ?? ref]),
      ),
    })),
    stacked: [...(model.stacked ?? []), ...adapters.map(({ digest }) => digest)],
    graph(form) {
      const made = model.graph(form);
      setWeights(made, changed);
      return { ...made, attached: [...(made.attached ?? []), ...named] };
    },
  };
}
