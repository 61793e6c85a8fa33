import type * as z from 'zod';
import { PeftError, Problems } from '../errors.js';
import { elementCount } from '../tensor/dtype.js';
import type { Tensor, TensorRef } from '../tensor/tensor.js';
import { namesOf } from './aliases.js';
import { ownConfig, rulesOf, type SharedConfig } from './config.js';
import { type Bound, requireBound } from './define-method.js';
import { type MatchReport, matchTargets, type Unmatched } from './match.js';
import type { Look, Method } from './method.js';
import { isSaved, modulePaths, patternLookup, splitPath } from './patterns.js';
import type { Params } from './site.js';
import type { Target } from './target.js';
import { type TokenRows, tokenRowsOf, tokenRowsSize } from './token-rows.js';

/** A target with the configuration that holds for it alone. */
export interface PlannedSite<C = unknown> {
  readonly target: Target;
  readonly c: C;
  /** What the method's plan gave for it. */
  readonly given?: Params<Tensor>;
}

/** A method laid out on one model: which targets, with what, and which parameters are trained as they are. */
export interface Plan<Schema extends z.ZodType = z.ZodType> {
  readonly method: Method<Schema>;
  readonly config: Bound<Schema>['config'];
  readonly sites: readonly PlannedSite<z.output<Schema>>[];
  /** Parameter paths trained and saved in full: modulesToSave and biases. */
  readonly replaced: readonly string[];
  /** Rows of embeddings trained and saved in full: trainableTokenIndices. */
  readonly tokens: readonly TokenRows[];
  readonly report: MatchReport;
  /** Number of trainables. */
  readonly size: number;
  /** Numbers in the base; tied parameters count once. */
  readonly parameters: number;
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
  const all = method.kinds.includes('vector')
    ? [...model.targets, ...vectorTargets(model.targets, model.parameters)]
    : model.targets;
  const available = shared.targetModules === 'all' ? all.filter(({ kind }) => method.kinds.includes(kind)) : all;
  const { targets, report } = matchTargets(available, { ...rulesOf(shared), modulesToSave });
  const { sites, unmatched } = configureSites(method, config, targets);

  const problems = new Problems();
  for (const problem of method.checkShared?.(config) ?? []) problems.add(`${problem}.`);
  if (shared.dropout > 0 && !(method.delta || method.apply || method.rewrite))
    problems.add('dropout has no place: this method changes weights and has no branch of its own.');
  for (const { target, c } of sites) {
    if (!method.kinds.includes(target.kind))
      problems.add(
        `"${target.path}" is of kind ${target.kind}, this method changes ${method.kinds.join(', ')}: narrow targetModules.`,
      );
    else for (const problem of method.check?.(target, c) ?? []) problems.add(`"${target.path}": ${problem}.`);
  }
  const { replaced, unsaved } = replacedParameters(modulesToSave, shared, sites, model.parameters);
  const trained = new Set([...sites.map(({ target }) => `${target.path}.weight`), ...replaced]);
  const taken = ({ path }: Target) => trained.has(`${path}.weight`);
  const tokens = tokenRowsOf(shared.trainableTokenIndices, model.targets, taken, problems);
  problems.throwIfAny('CONFIG_INVALID', method.name);

  const rows = tokens.reduce((sum, one) => sum + tokenRowsSize(one), 0);
  const full = rows + countOf(replaced.map((path) => model.parameters.get(path)!));
  return {
    method,
    config: { ...config, modulesToSave },
    sites,
    replaced,
    tokens,
    report: { matched: report.matched, unmatched: [...report.unmatched, ...unmatched, ...unsaved] },
    size: sizeOf(method, sites, config) + full,
    parameters: countOf(new Set(model.parameters.values())),
  };
}

function countOf(refs: Iterable<TensorRef>): number {
  let count = 0;
  for (const { shape } of refs) count += elementCount(shape);
  return count;
}

const sizeOf = <Schema extends z.ZodType>(
  method: Method<Schema>,
  sites: readonly PlannedSite<z.output<Schema>>[],
  config: Bound<Schema>['config'],
): number =>
  sites.reduce(
    (sum, { target, c }) => sum + method.size(target, c),
    method.sharedSize?.(ownConfig(config) as z.output<Schema>) ?? 0,
  );

/**
 * The plan after the method has seen weights or data: each target with what was settled for it, the others left out.
 * @throws PeftError TARGETS_UNMATCHED when nothing is left, CONFIG_INVALID listing what the method refuses
 */
export async function settlePlan<Schema extends z.ZodType>(
  plan: Plan<Schema>,
  look: Look<z.output<Schema>>,
): Promise<Plan<Schema>> {
  const { method } = plan;
  if (!method.plan) return plan;
  const settled = await method.plan(look);
  const sites = plan.sites.flatMap(({ target, c }) => {
    const own = settled.get(target.path);
    return own ? [{ target, c: { ...(c as object), ...own.c } as z.output<Schema>, given: own.tensors ?? {} }] : [];
  });
  if (sites.length === 0) {
    const why = look.start ? 'the adapter to train on has nothing it takes for them' : 'raise its budget';
    throw new PeftError(
      'TARGETS_UNMATCHED',
      `${method.name} selects nothing in the ${plan.sites.length} targets that were matched: ${why}.`,
    );
  }
  const problems = new Problems();
  for (const { target, c } of sites)
    for (const problem of method.check?.(target, c) ?? []) problems.add(`"${target.path}": ${problem}.`);
  problems.throwIfAny('CONFIG_INVALID', method.name);
  const size = plan.size - sizeOf(method, plan.sites, plan.config) + sizeOf(method, sites, plan.config);
  return { ...plan, sites, size };
}

/** Modules that own parameters and are no target yet: norms, and what else holds vectors. */
function vectorTargets(targets: readonly Target[], parameters: ReadonlyMap<string, TensorRef>): Target[] {
  const taken = new Set(targets.map(({ path }) => path));
  const modules = new Map<string, Record<string, TensorRef>>();
  for (const [path, ref] of parameters) {
    const [module, name] = splitPath(path);
    if (taken.has(module)) continue;
    const own = modules.get(module) ?? {};
    own[name] = ref;
    modules.set(module, own);
  }
  return [...modules]
    .filter(([, own]) => Object.values(own).every(({ shape }) => shape.length === 1))
    .map(([path, own]) => {
      const [size = 1] = Object.values(own)[0]!.shape;
      return { kind: 'vector', path, in: size, out: size, parameters: own };
    });
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
