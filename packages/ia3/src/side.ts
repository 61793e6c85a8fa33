import { isFeedforward, PeftError, type Target } from '@peftjs/core';
import type { Ia3Settings } from './config.js';

/** What the vector of a target multiplies. */
export type Side = 'output' | 'input';

/** Sides of the paper's places. `query-key-value` gives keys and values together with queries. */
const sideOfRole: Readonly<Partial<Record<NonNullable<Target['role']>, Side>>> = {
  key: 'output',
  value: 'output',
  'query-key-value': 'output',
  down: 'input',
};

const pathsOf = ({ path, aliases = [] }: Target): readonly string[] => [path, ...aliases];

/** Undefined for a target that the configuration leaves out. */
export function sideOf(target: Target, { feedforwardModules }: Ia3Settings): Side | undefined {
  if (feedforwardModules === undefined) return target.role && sideOfRole[target.role];
  return pathsOf(target).some(isFeedforward(feedforwardModules)) ? 'input' : 'output';
}

/** @throws PeftError CONFIG_INVALID for entries of `feedforwardModules` that are none of the targets */
export function requireFeedforward(targets: readonly Target[], { feedforwardModules }: Ia3Settings): void {
  const entries =
    typeof feedforwardModules === 'string' ? [feedforwardModules] : (feedforwardModules ?? []).map((name) => [name]);
  const stray = entries.filter((entry) => !targets.some((target) => pathsOf(target).some(isFeedforward(entry))));
  if (stray.length === 0) return;
  throw new PeftError(
    'CONFIG_INVALID',
    `ia3: feedforwardModules has ${stray.map((entry) => JSON.stringify(String(entry))).join(', ')}, which matches none of the targets (${targets
      .slice(0, 4)
      .map(({ path }) => path)
      .join(', ')}${targets.length > 4 ? ', ...' : ''}): name it in targetModules too, or leave it out.`,
    { details: { stray: stray.map(String) } },
  );
}

/** @throws PeftError TARGETS_UNMATCHED when no target has one of the paper's places */
export function requirePlaces(targets: readonly Target[], c: Ia3Settings): void {
  if (targets.some((target) => sideOf(target, c))) return;
  const found = [...new Set(targets.map(({ role }) => role ?? 'none'))].join(', ');
  throw new PeftError(
    'TARGETS_UNMATCHED',
    `ia3: no target has one of the roles ${Object.keys(sideOfRole).join(', ')}; theirs are ${found}. Say in feedforwardModules whose inputs are scaled ([] for none): then the outputs of all other targets are.`,
  );
}
