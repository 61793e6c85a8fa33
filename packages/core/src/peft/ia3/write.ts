import type { Adapter, Term } from '../../delta/delta.js';
import { scaling } from '../../delta/kinds/scaling.js';
import { Problems } from '../../errors.js';
import type { TensorRef } from '../../tensor/tensor.js';
import { completeConfig, ownConfig, targetRules } from '../common/describe.js';
import { fullModules } from '../common/full.js';
import { partKey } from '../common/keys.js';
import { reshaped } from '../common/reshape.js';
import { sameNumbers } from '../common/same.js';
import type { LayoutFiles, LayoutWriteOptions } from '../layout.js';
import { type Ia3File, ia3Format, ia3Parts, isFeedforward } from './format.js';

interface Held {
  readonly module: string;
  readonly term: Term;
  readonly vector: TensorRef;
}

/** An adapter as an IA3 folder. See `Layout.write`. */
export async function writeIa3(adapter: Adapter, options: LayoutWriteOptions): Promise<LayoutFiles> {
  const problems = new Problems();
  const held = await gather(adapter, options, problems);
  const paths = held.map(({ module }) => module);
  const given = ownConfig(adapter, 'IA3');
  const full = fullModules(adapter, new Set(paths), given, problems);
  const rules = rulesOf(held, given);
  const fed = isFeedforward(rules.feedforward_modules);
  for (const { module, term } of held)
    if (fed(module) !== (term.meta.side === 'input'))
      problems.add(`"${module}" cannot be told from another module whose path ends alike, and their sides differ.`);
  problems.throwIfAny('DELTA_CONFLICT', 'The IA3 layout cannot hold this adapter');

  const tensors = new Map<string, TensorRef>(full.tensors);
  const shapes = new Map<string, readonly number[]>();
  for (const { module, term, vector } of held) {
    const length = vector.shape[0]!;
    const shape = term.meta.side === 'input' ? [1, length] : [length, 1];
    tensors.set(partKey(module, ia3Parts.vector), reshaped(vector, shape));
    shapes.set(`${module}.weight`, adapter.delta.shape.get(`${module}.weight`)!);
  }
  const config = completeConfig(adapter, 'IA3', {
    ...ia3Format.defaults,
    ...given,
    ...rules,
    fan_in_fan_out: held.some(({ term }) => term.meta.transposed === true),
    modules_to_save: full.modules,
  });
  return { config, tensors, shapes };
}

/** One vector a module; one of outputs multiplies the bias too. */
async function gather({ delta }: Adapter, { base }: LayoutWriteOptions, problems: Problems): Promise<Held[]> {
  const held: Held[] = [];
  for (const [path, terms] of delta.params) {
    const module = path.slice(0, path.lastIndexOf('.'));
    const [term] = terms;
    const beside = delta.params.get(`${module}.weight`)?.[0];
    if (terms.length !== 1 || term!.kind !== scaling.kind)
      problems.add(
        `"${path}" has updates of kind ${terms.map(({ kind }) => kind).join(', ')}; the layout holds one scaling.`,
      );
    else if (path === `${module}.weight`) held.push({ module, term: term!, vector: term!.tensors.vector! });
    else if (path !== `${module}.bias` || beside?.meta.side !== 'output')
      problems.add(`"${path}" is scaled without the outputs of the weight beside it.`);
  }
  for (const { module, term, vector } of held) {
    if (term.meta.side === 'input') continue;
    const target = base?.targets?.find(({ path }) => path === module);
    const bias = delta.params.get(`${module}.bias`)?.[0]?.tensors.vector;
    if (bias ? !(await sameNumbers(bias, vector)) : !target || target.parameters.bias)
      problems.add(`the bias of "${module}" is not scaled as the outputs of its weight are.`);
  }
  if (held.length === 0) problems.add('it scales nothing.');
  return held;
}

/** What was given where it is true of every module; else all paths by name. */
function rulesOf(held: readonly Held[], given: Readonly<Record<string, unknown>>) {
  const paths = held.map(({ module }) => module);
  const { target_modules, exclude_modules } = targetRules(paths, given);
  const kept = given.feedforward_modules as NonNullable<Ia3File['feedforward_modules']> | undefined;
  const inputs = held.filter(({ term }) => term.meta.side === 'input').map(({ module }) => module);
  if (kept !== undefined && kept !== null && target_modules === given.target_modules) {
    const fed = isFeedforward(kept);
    if (paths.every((path) => fed(path) === inputs.includes(path)))
      return { exclude_modules, target_modules, feedforward_modules: kept };
  }
  return { exclude_modules: null, target_modules: [...paths].sort(), feedforward_modules: inputs.sort() };
}
