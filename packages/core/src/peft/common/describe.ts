import { matchModules } from '../../adapter/match.js';
import { isSaved, modulePaths } from '../../adapter/patterns.js';
import type { Adapter } from '../../delta/delta.js';
import type { PeftConfig } from '../layout.js';
import { peftVersion, taskTypes } from '../names.js';

/** What an adapter was read with, where that was this `peft_type`. */
export const ownConfig = ({ peft }: Adapter, type: string): Readonly<Record<string, unknown>> =>
  peft?.peft_type === type ? peft : {};

/** The keys of every class around those of one layout, in the order of their names, as PEFT writes them. */
export function completeConfig(adapter: Adapter, type: string, keys: Readonly<Record<string, unknown>>): PeftConfig {
  const all: Record<string, unknown> = {
    ...keys,
    base_model_name_or_path: adapter.base?.name ?? null,
    inference_mode: true,
    peft_type: type,
    peft_version: adapter.peft?.peft_version ?? peftVersion,
    task_type: adapter.peft?.task_type ?? taskTypes[adapter.task?.name ?? ''] ?? null,
  };
  return new Map(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
}

/** The rules that were given, where they are names or an expression that select every module; else all paths by name. */
export function targetRules(
  paths: readonly string[],
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const rules = {
    exclude_modules: given.exclude_modules ?? null,
    layers_to_transform: given.layers_to_transform ?? null,
    layers_pattern: given.layers_pattern ?? null,
  };
  const targets = given.target_modules as string | readonly string[] | undefined;
  if (targets !== undefined && targets !== 'all-linear') {
    const { matched, unmatched } = matchModules(paths, {
      targetModules: targets,
      layersToTransform: (given.layers_to_transform ?? undefined) as number | readonly number[] | undefined,
      layersPattern: (given.layers_pattern ?? undefined) as string | readonly string[] | undefined,
    });
    if (matched.length === paths.length && !unmatched.some(({ rule }) => rule === 'targetModules'))
      return { ...rules, target_modules: targets };
  }
  return { exclude_modules: null, layers_to_transform: null, layers_pattern: null, target_modules: [...paths].sort() };
}

export const moduleOf = (path: string): string => path.slice(0, path.lastIndexOf('.'));

/** The entries of `modules_to_save` that name one of these parameters, and the paths that none of them names. */
export function savedModules(
  paths: readonly string[],
  given: Readonly<Record<string, unknown>>,
): { readonly listed: readonly string[]; readonly rest: readonly string[] } {
  const within = (path: string, entries: readonly string[]) => modulePaths([path]).some((m) => isSaved(m, entries));
  const listed = [...new Set((given.modules_to_save ?? []) as readonly string[])].filter((entry) =>
    paths.some((path) => within(path, [entry])),
  );
  return { listed, rest: paths.filter((path) => !within(path, listed)) };
}
