import { PeftError } from '../errors.js';
import { namesOf } from './aliases.js';
import { nearNames } from './near.js';
import { type PythonRegex, pythonRegex } from './python-regex.js';
import type { Target } from './target.js';

/** Which modules an adapter changes, in PEFT's terms. */
export interface TargetRules {
  /** Names (the last parts of a module path), one regular expression for whole paths, 'all-linear' or 'all'. */
  readonly targetModules: string | readonly string[];
  readonly excludeModules?: string | readonly string[] | undefined;
  /** Layer numbers; only with a list of names. */
  readonly layersToTransform?: number | readonly number[] | undefined;
  /** What stands before the layer number in a path; anything when not given. */
  readonly layersPattern?: string | readonly string[] | undefined;
  /** Trained in full, so never adapted. */
  readonly modulesToSave?: readonly string[] | undefined;
}

/** A part of a rule that selected nothing. */
export interface Unmatched {
  readonly rule: keyof TargetRules | string;
  readonly entry: string;
}

export interface MatchReport {
  readonly matched: readonly string[];
  readonly unmatched: readonly Unmatched[];
}

const listOf = <T>(value: T | readonly T[] | undefined): readonly T[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value as T];

/** Whether a module path is `name` or ends with `.name`. */
const endsAt = (path: string, name: string): boolean => path === name || path.endsWith(`.${name}`);

/**
 * Selects by PEFT's rules. `paths` are module paths without a wrapper's prefix. 'all-linear' selects every path for
 * which `linear` holds. `names` are all that a rule may call the module at a path: each rule holds when it does for one.
 */
export function matchModules(
  paths: readonly string[],
  rules: TargetRules,
  linear: (path: string) => boolean = () => true,
  names: (path: string) => readonly string[] = (path) => [path],
): MatchReport {
  const used = new Map<string, Unmatched & { hits: number }>();
  const entry = (rule: string, text: string | number) => {
    const key = `${rule} ${text}`;
    if (!used.has(key)) used.set(key, { rule, entry: String(text), hits: 0 });
    return () => {
      used.get(key)!.hits++;
    };
  };
  const selects = targetRule(rules, linear, entry);
  const excludes = nameRule(rules.excludeModules, 'excludeModules', entry);
  const inLayer = layerRule(rules, entry);
  const saved = listOf(rules.modulesToSave).map((name) => pythonRegex(`(^|.*\\.)${name}($|\\..*)`, 'modulesToSave'));

  const matched = paths.filter((path) => {
    const called = names(path);
    if (saved.some((regex) => called.some((name) => regex.match(name) !== undefined))) return false;
    const selected = called.map(selects).filter((found) => found !== false);
    if (selected.length === 0) return false;
    if (called.filter(excludes).length > 0) return false;
    // PEFT: a path given in full is taken whatever layers were named.
    return selected.includes('exact') || called.filter(inLayer).length > 0;
  });
  const unmatched = [...used.values()].filter(({ hits }) => hits === 0).map(({ rule, entry }) => ({ rule, entry }));
  return { matched, unmatched };
}

type Entry = (rule: string, text: string | number) => () => void;

function targetRule(rules: TargetRules, linear: (path: string) => boolean, entry: Entry) {
  const { targetModules } = rules;
  if (typeof targetModules !== 'string') {
    const names = targetModules.map((name) => ({ name, hit: entry('targetModules', name) }));
    return (path: string): 'exact' | 'found' | false => {
      const found = names.filter(({ name }) => endsAt(path, name));
      for (const { hit } of found) hit();
      return found.some(({ name }) => name === path) ? 'exact' : found.length > 0 && 'found';
    };
  }
  if (targetModules.toLowerCase() === 'all-linear') return (path: string) => linear(path) && 'found';
  if (targetModules === 'all') return () => 'found' as const;
  const regex = pythonRegex(targetModules, 'targetModules');
  const hit = entry('targetModules', targetModules);
  return (path: string) => {
    if (!regex.fullMatch(path)) return false;
    hit();
    return 'found';
  };
}

function nameRule(names: string | readonly string[] | undefined, rule: string, entry: Entry) {
  const tests: { test: (path: string) => boolean; hit: () => void }[] = [];
  if (typeof names === 'string' && names !== '') {
    const regex = pythonRegex(names, rule);
    tests.push({ test: (path) => regex.fullMatch(path), hit: entry(rule, names) });
  } else if (typeof names === 'object') {
    for (const name of names) tests.push({ test: (path) => endsAt(path, name), hit: entry(rule, name) });
  }
  return (path: string): boolean => {
    const found = tests.filter(({ test }) => test(path));
    for (const { hit } of found) hit();
    return found.length > 0;
  };
}

function layerRule(rules: TargetRules, entry: Entry) {
  const layers = listOf(rules.layersToTransform);
  if (layers.length === 0) return () => true;
  const hits = new Map(layers.map((layer) => [layer, entry('layersToTransform', layer)]));
  const names = listOf(rules.layersPattern).filter((name) => name !== '');
  const forms: PythonRegex[] =
    names.length > 0
      ? names.map((name) => pythonRegex(`.*\\.${name}\\.(\\d+)\\.`, 'layersPattern'))
      : [pythonRegex('.*?\\.[^.]*\\.(\\d+)\\.', 'layersPattern')];
  return (path: string): boolean => {
    for (const form of forms) {
      const found = form.match(path)?.[1];
      if (found === undefined) continue;
      const hit = hits.get(Number(found));
      hit?.();
      return hit !== undefined;
    }
    return false;
  };
}

/**
 * The targets that the rules select, in the model's order, and every part of the rules that selected nothing.
 * @throws PeftError TARGETS_UNMATCHED when nothing at all was selected, with names that come near
 */
export function matchTargets(
  targets: readonly Target[],
  rules: TargetRules,
): { readonly targets: readonly Target[]; readonly report: MatchReport } {
  const byPath = new Map(targets.map((target) => [target.path, target]));
  const linear = (path: string) => {
    const target = byPath.get(path);
    return (target?.kind === 'linear' || target?.kind === 'conv1d') && target.head !== true;
  };
  const report = matchModules([...byPath.keys()], rules, linear, (path) => namesOf(byPath.get(path)!));
  if (report.matched.length === 0) throw nothingMatched(targets, rules, report);
  return { targets: report.matched.map((path) => byPath.get(path)!), report };
}

function nothingMatched(targets: readonly Target[], rules: TargetRules, report: MatchReport): PeftError {
  const names = [...new Set(targets.map(({ path }) => path.slice(path.lastIndexOf('.') + 1)))];
  const hints = listOf(rules.targetModules).map((wanted) => {
    const near = nearNames(wanted.slice(wanted.lastIndexOf('.') + 1), names);
    return near.length > 0 ? `"${wanted}" (near: ${near.join(', ')})` : `"${wanted}"`;
  });
  return new PeftError(
    'TARGETS_UNMATCHED',
    `No module of this model is selected by targetModules ${hints.join(', ')}. Its modules are called: ${names.join(', ') || 'nothing (the model has no targets)'}.`,
    { details: { rules, available: targets.map(({ path }) => path), unmatched: report.unmatched } },
  );
}
