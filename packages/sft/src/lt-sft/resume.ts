import {
  type Adapter,
  changedEntries,
  f32,
  graphIndices,
  type Initial,
  type Params,
  PeftError,
  type PlannedTarget,
  type Target,
  type Tensor,
  type Term,
} from '@peftjs/core';
import { indicesOf } from '../coordinates.js';
import type { SftSettings } from './config.js';
import { changeable } from './scope.js';

/** Whether a target goes on from saved numbers, `count` of them: nothing is left to find out in a full phase. */
export const goesOn = ({ fullShare }: SftSettings): boolean => fullShare === 0;

/** Values and indices of saved updates by parameter name: all numbers that have moved. */
export async function savedChanges(terms: Params<Term>, { path }: Pick<Target, 'path'>): Promise<Params<Tensor>> {
  const p: Record<string, Tensor> = {};
  for (const [name, term] of Object.entries(terms)) {
    const { kind } = term;
    if (kind !== 'sparse' && kind !== 'dense')
      throw new PeftError(
        'CONFIG_UNSUPPORTED',
        `sft: "${path}.${name}" is an update of kind ${kind}; it trains on from single numbers or full matrices. Train on top of it instead.`,
      );
    const { indices, values } = await changedEntries(term);
    p[name] = f32([values.length], values);
    p[indicesOf(name)] = graphIndices(indices);
  }
  return p;
}

/** The targets that an adapter changes, each with its numbers as they are. */
export async function savedTargets(
  sites: readonly { readonly target: Target; readonly c: SftSettings }[],
  { delta }: Adapter,
): Promise<Map<string, PlannedTarget<SftSettings>>> {
  const planned = new Map<string, PlannedTarget<SftSettings>>();
  for (const { target, c } of sites) {
    const terms: Record<string, Term> = {};
    for (const name of Object.keys(changeable(target, c))) {
      const [term] = delta.params.get(`${target.path}.${name}`) ?? [];
      if (term) terms[name] = term;
    }
    const tensors = await savedChanges(terms, target);
    const count = Object.keys(terms).reduce((sum, name) => sum + tensors[name]!.data.length, 0);
    if (count > 0) planned.set(target.path, { c: { fullShare: 0, count }, tensors });
  }
  return planned;
}

/** The sparse phase from given values and indices. */
export function sparseStart(given: Params<Tensor>): Initial {
  const names = Object.keys(given).filter((name) => indicesOf(name) in given);
  const pick = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, given[key]!]));
  return { train: pick(names), frozen: pick(names.map(indicesOf)) };
}
