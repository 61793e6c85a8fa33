import { codeKey, Problems } from '@peftjs/core';
import { resolveMerge, settingsOfEach } from '../config.js';
import type { BoundMerge } from '../define.js';
import { type Settings, settingsFor } from '../recipe/settings.js';
import type { Group, Row } from './arrangement.js';

/** What holds for one tensor of the result: the method's configuration and each model's own, and the weights. */
export interface Resolved {
  readonly bound: BoundMerge;
  readonly weights: readonly number[];
  readonly each: readonly unknown[];
  /** Values that each model has for itself, before they were filled in. */
  readonly own: readonly Readonly<Record<string, unknown>>[];
}

/** mergekit's choice of a dtype for masks: nothing here depends on it. */
const withoutMeaning = new Set(['int8_mask']);

const keysOf = ({ merge }: BoundMerge): string[] =>
  'shape' in merge.config ? Object.keys(merge.config.shape as object) : [];

/** Keys of all levels that neither the method nor the engine knows. */
function unknownKeys(bound: BoundMerge, levels: readonly Settings[]): string[] {
  const known = new Set(['weight', ...keysOf(bound)]);
  const keys = levels.flatMap((level) => Object.keys(level)).filter((key) => !withoutMeaning.has(key));
  return [...new Set(keys)].filter((key) => !known.has(codeKey(key)));
}

/** @throws PeftError CONFIG_UNSUPPORTED naming every key that is not known */
export function checkKeys(bound: BoundMerge, groups: readonly Group[]): void {
  const problems = new Problems();
  const levels = groups.flatMap((group) => [...group.levels, ...group.sources.map(({ settings }) => settings)]);
  for (const key of unknownKeys(bound, levels))
    problems.add(`"${key}" is no key of this method; it has ${['weight', ...keysOf(bound)].join(', ')}`);
  problems.throwIfAny('CONFIG_UNSUPPORTED', bound.merge.name);
}

/** Evaluates the settings of tensors; equal ones share one object, so that they are checked once. */
export function resolver(bound: BoundMerge, check: (resolved: Resolved, group: Group) => void) {
  const known = new Map<string, Resolved>();
  const split = (values: Record<string, unknown>) => {
    const { weight, ...rest } = values;
    const entries = Object.entries(rest).filter(([key]) => !withoutMeaning.has(key));
    return { weight, rest: Object.fromEntries(entries.map(([key, value]) => [codeKey(key), value])) };
  };
  return (group: Group, row: Row): Resolved => {
    const shared = split(settingsFor(group.levels, row.name, row.t));
    const own = group.sources.map(({ settings }) => split(settingsFor([settings], row.name, row.t)));
    const key = JSON.stringify([group.sources.map(({ model }) => model), group.base, shared, own]);
    const found = known.get(key);
    if (found) return found;
    const config = { ...(bound.config as object), ...shared.rest };
    const here = { ...bound, config: resolveMerge(bound.merge, config) };
    const values = own.map(({ rest }) => rest);
    const resolved: Resolved = {
      bound: here,
      weights: own.map(({ weight }) => Number(weight ?? shared.weight ?? 1)),
      each: settingsOfEach(here, values),
      own: values,
    };
    check(resolved, group);
    known.set(key, resolved);
    return resolved;
  };
}
