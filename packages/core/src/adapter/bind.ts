import type { z } from 'zod';
import { Problems } from '../errors.js';
import { elementCount } from '../tensor/dtype.js';
import type { TensorRef } from '../tensor/tensor.js';
import { namesOf } from './aliases.js';
import { ownConfig, rulesOf, type SharedConfig } from './config.js';
import { type Bound, requireBound } from './define-method.js';
import { type MatchReport, matchTargets, type Unmatched } from './match.js';
import type { Method } from './method.js';
import { isSaved, modulePaths, patternLookup } from './patterns.js';
import type { Target } from './target.js';

/** A target with the configuration that holds for it alone. */
export interface PlannedSite<C = unknown> {
  readonly target: Target;
  readonly c: C;
}

/** A method laid out on one model: which targets, with what, and which parameters are trained as they are. */
export interface Plan<Schema extends z.ZodType = z.ZodType> {
  readonly method: Method<Schema>;
  readonly config: Bound<Schema>['config'];
  readonly sites: readonly PlannedSite<z.output<Schema>>[];
  /** Parameter paths trained and saved in full: modulesToSave and biases. */
  readonly replaced: readonly string[];
  readonly report: MatchReport;
  /** Number of trainables. */
  readonly size: number;
}

export interface BindModel {
  readonly targets: readonly Target[];
  readonly parameters: ReadonlyMap<string, TensorRef>;
  /** Modules the base does not have (a new head): trained in full beside those of the configuration. */
  readonly modulesToSave?: readonly string[];
}

/**
 * Lays a configured method out on a model.
 * @throws PeftError TARGETS_UNMATCHED when no target is selected, CONFIG_INVALID listing what the method refuses,
 *   PLUGIN_INCOMPATIBLE for a method of another contract
 */
export function bindMethod<Schema extends z.ZodType>(bound: Bound<Schema>, model: BindModel): Plan<Schema> {
  requireBound(bound);
  const { method, config } = bound;
  const shared: SharedConfig = config;
  const modulesToSave = [...new Set([...shared.modulesToSave, ...(model.modulesToSave ?? [])])];
  const { targets, report } = matchTargets(model.targets, { ...rulesOf(shared), modulesToSave });
  const { sites, unmatched } = configureSites(method, config, targets);

  const problems = new Problems();
  for (const { target, c } of sites) {
    if (!method.kinds.includes(target.kind))
      problems.add(
        `"${target.path}" is of kind ${target.kind}, this method changes ${method.kinds.join(', ')}: narrow targetModules.`,
      );
    else for (const problem of method.check?.(target, c) ?? []) problems.add(`"${target.path}": ${problem}.`);
  }
  problems.throwIfAny('CONFIG_INVALID', method.name);

  const { replaced, unsaved } = replacedParameters(modulesToSave, shared, sites, model.parameters);
  const full = replaced.reduce((sum, path) => sum + elementCount(model.parameters.get(path)!.shape), 0);
  return {
    method,
    config: { ...config, modulesToSave },
    sites,
    replaced,
    report: { matched: report.matched, unmatched: [...report.unmatched, ...unmatched, ...unsaved] },
    size: sites.reduce((sum, { target, c }) => sum + method.size(target, c), full),
  };
}

/** The method's own configuration per target, its patterns applied. */
function configureSites<Schema extends z.ZodType>(
  method: Method<Schema>,
  config: Bound<Schema>['config'],
  targets: readonly Target[],
) {
  const own = ownConfig(config);
  const patterns = Object.entries(method.patterns ?? {}).map(([key, rule]) => {
    const pattern = (own[rule] ?? {}) as Readonly<Record<string, unknown>>;
    return { key, rule, pattern, lookup: patternLookup(pattern, rule), used: new Set<string>() };
  });
  const sites = targets.map((target) => {
    const c = { ...own };
    for (const { key, lookup, used } of patterns) {
      const entry = namesOf(target)
        .map(lookup)
        .find((found) => found !== undefined);
      if (!entry) continue;
      used.add(entry.key);
      c[key] = entry.value;
    }
    return { target, c: c as z.output<Schema> };
  });
  const unmatched: Unmatched[] = patterns.flatMap(({ rule, pattern, used }) =>
    Object.keys(pattern)
      .filter((key) => !used.has(key))
      .map((entry) => ({ rule, entry })),
  );
  return { sites, unmatched };
}

/** modulesToSave as PEFT reads it (a path that ends with the entry, and all within), then biases. */
function replacedParameters(
  modulesToSave: readonly string[],
  shared: SharedConfig,
  sites: readonly PlannedSite[],
  parameters: ReadonlyMap<string, TensorRef>,
) {
  const saved = modulePaths(parameters.keys()).filter((module) => isSaved(module, modulesToSave));
  const within = (path: string) => saved.some((module) => path.startsWith(`${module}.`));
  const adapted = new Set(sites.map(({ target }) => `${target.path}.bias`));
  const trained = (path: string) =>
    shared.bias === 'all' ? path.includes('bias') : shared.bias !== 'none' && adapted.has(path);
  const replaced = [...parameters.keys()].filter((path) => within(path) || trained(path));
  const unsaved = modulesToSave
    .filter((entry) => !saved.some((module) => module.endsWith(entry)))
    .map((entry) => ({ rule: 'modulesToSave', entry }));
  return { replaced, unsaved };
}
