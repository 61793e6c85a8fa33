import { parse } from 'yaml';

/** Names as `a,b` are a list; everything else that is no YAML scalar (a regular expression) stays text. */
const NAMES = /^[\w.-]+(,[\w.-]+)+$/;

/** A `--set` value as its schema would have it in YAML: numbers, booleans, null, [lists], {mappings}, text. */
export function settingValue(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (NAMES.test(value)) return value.split(',');
  try {
    return parse(value);
  } catch {
    return value;
  }
}

export const settings = (given: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(given).map(([key, value]) => [key, settingValue(value)]));

/** `--target-modules`: names, or one text that is a rule of its own (`all-linear`, `all`, a regular expression). */
export const targetModules = (names: readonly string[]): string | readonly string[] => {
  const [only] = names;
  const rule = names.length === 1 && (only === 'all-linear' || only === 'all' || !/^[\w.]+$/.test(only!));
  return rule ? only! : names.every((name) => /^[\w.]+$/.test(name)) ? names : names.join(',');
};
