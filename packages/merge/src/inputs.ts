import { type DType, isFloat, PeftError, Problems } from '@peftjs/core';
import { settingsOfEach } from './config.js';
import type { BoundMerge } from './define.js';
import { reaches } from './kernels/index.js';

/** What is known of a tensor before it is read. */
export interface Described {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export interface Inputs {
  readonly base?: ReadonlyMap<string, Described>;
  readonly models: readonly ReadonlyMap<string, Described>[];
  /** Names for messages, one a model. */
  readonly ids: readonly string[];
  /** One a model; all 1 when not given. */
  readonly weights?: readonly number[];
  /** Values that a model has for itself. */
  readonly each?: readonly (Readonly<Record<string, unknown>> | undefined)[];
}

/** Inputs that fit a method, with everything filled in. */
export interface Prepared<Settings> {
  readonly weights: readonly number[];
  readonly each: readonly Settings[];
  /** Paths of the tensors to merge, sorted: the order of a scope 'model'. */
  readonly merged: readonly string[];
  /** Paths of tensors that are not floats: they are copied, and must be equal in all inputs. */
  readonly copied: readonly string[];
}

const plural = (n: number, what: string) => `${n} ${what}${n === 1 ? '' : 's'}`;

function countProblems({ merge }: BoundMerge, { base, models, weights, ids }: Inputs, problems: Problems): void {
  const { min = 1, max = Number.POSITIVE_INFINITY } = merge.models ?? {};
  if (models.length < min || models.length > max) {
    const wanted = min === max ? plural(min, 'model') : `${min} to ${max} models`;
    problems.add(
      `it takes ${max === Number.POSITIVE_INFINITY ? `at least ${plural(min, 'model')}` : wanted}, not ${models.length}`,
    );
  }
  if (merge.base === 'required' && !base) problems.add('it needs a base model');
  if (merge.base === 'none' && base) problems.add('it takes no base model: leave it out, or list it as a model');
  if (weights && weights.length !== models.length)
    problems.add(`${plural(weights.length, 'weight')} for ${plural(models.length, 'model')}: give one each`);
  weights?.forEach((weight, i) => {
    if (!Number.isFinite(weight))
      problems.add(`the weight of ${ids[i] ?? `model ${i}`} is ${weight}, not a finite number`);
  });
}

function tensorProblems({ base, models, ids }: Inputs, problems: Problems): string[] {
  const all = [
    ...(base ? [{ id: 'the base', tensors: base }] : []),
    ...models.map((tensors, i) => ({ id: ids[i]!, tensors })),
  ];
  const names = [...new Set(all.flatMap(({ tensors }) => [...tensors.keys()]))].sort();
  for (const name of names) {
    const missing = all.filter(({ tensors }) => !tensors.has(name)).map(({ id }) => id);
    if (missing.length > 0) problems.add(`tensor "${name}" is missing in ${missing.join(', ')}`);
    const shapes = new Set(all.flatMap(({ tensors }) => (tensors.has(name) ? [`[${tensors.get(name)!.shape}]`] : [])));
    if (shapes.size > 1) {
      const of = all.flatMap(({ id, tensors }) =>
        tensors.has(name) ? [`[${tensors.get(name)!.shape}] in ${id}`] : [],
      );
      problems.add(`tensor "${name}" has shape ${of.join(', ')}`);
    }
    const floats = new Set(
      all.flatMap(({ tensors }) => (tensors.has(name) ? [isFloat(tensors.get(name)!.dtype)] : [])),
    );
    if (floats.size > 1) problems.add(`tensor "${name}" is a float tensor in one input and none in another`);
  }
  return names;
}

/**
 * Checks everything that can be known before numbers are read.
 * @throws PeftError CONFIG_INVALID (options, counts, weights) or DELTA_CONFLICT (tensors that do not fit), listing all
 */
export function prepareInputs<Settings>(bound: BoundMerge, inputs: Inputs): Prepared<Settings> {
  const problems = new Problems();
  countProblems(bound, inputs, problems);
  problems.throwIfAny('CONFIG_INVALID', bound.merge.name);
  const weights = inputs.weights ?? inputs.models.map(() => 1);
  const each = settingsOfEach(bound, inputs.each ?? inputs.models.map(() => undefined));
  for (const text of bound.merge.check?.({ weights, c: bound.config, each, hasBase: inputs.base !== undefined }) ?? [])
    problems.add(text);
  problems.throwIfAny('CONFIG_INVALID', bound.merge.name);
  const names = tensorProblems(inputs, problems);
  problems.throwIfAny('DELTA_CONFLICT', `${bound.merge.name}: the inputs do not fit each other`);
  const first = inputs.base ?? inputs.models[0]!;
  const merged = names.filter((name) => isFloat(first.get(name)!.dtype));
  return { weights, each: each as Settings[], merged, copied: names.filter((name) => !merged.includes(name)) };
}

/** Bits of the smallest magnitude that is no finite number. */
const infinity = 0x7f800000;

/** @throws PeftError DELTA_CONFLICT for a number that is not finite: every method would spread it */
export function requireFinite(values: Float32Array, tensor: string, id: string, offset: number): void {
  if (!reaches(values, infinity)) return;
  const i = values.findIndex((x) => !Number.isFinite(x));
  const problem = `Element ${offset + i} of tensor "${tensor}" in ${id} is ${values[i]}: repair or leave out this model.`;
  throw new PeftError('DELTA_CONFLICT', problem, { details: { tensor, model: id, index: offset + i } });
}
