import { pythonRegex } from './python-regex.js';

/** The entry of a pattern that governs a module. */
export interface PatternEntry<T> {
  readonly key: string;
  readonly value: T;
}

/**
 * What a pattern (`rank_pattern`, `alpha_pattern`) gives each module: the first entry whose key matches `(.*\.)?(key)$`
 * from the start of the module's path, in the order the entries are written.
 */
export function patternLookup<T>(
  pattern: Readonly<Record<string, T>>,
  subject: string,
): (path: string) => PatternEntry<T> | undefined {
  const entries = Object.entries(pattern).map(([key, value]) => ({
    entry: { key, value },
    regex: pythonRegex(`(.*\\.)?(${key})$`, subject),
  }));
  return (path) => entries.find(({ regex }) => regex.match(path) !== undefined)?.entry;
}

/** Whether PEFT's `modules_to_save` entry names this module: the path ends with it, dot or not. */
export const isSaved = (modulePath: string, entries: readonly string[]): boolean =>
  entries.some((name) => modulePath.endsWith(name));

/** The paths of all modules that hold these parameters, directly or within: `a.b.weight` gives `a.b` and `a`. */
export function modulePaths(parameters: Iterable<string>): string[] {
  const modules = new Set<string>();
  for (const path of parameters)
    for (let dot = path.lastIndexOf('.'); dot > 0; dot = path.lastIndexOf('.', dot - 1))
      modules.add(path.slice(0, dot));
  return [...modules];
}

/** A parameter's path as its module's and its name within: `a.b.weight` gives `a.b` and `weight`. */
export function splitPath(path: string): [module: string, name: string] {
  const dot = path.lastIndexOf('.');
  return [path.slice(0, dot), path.slice(dot + 1)];
}
