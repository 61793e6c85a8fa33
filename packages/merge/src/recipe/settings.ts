/** A value of a recipe that may differ from tensor to tensor. */
export type Scalar = number | boolean | string;

/** Only where the tensor's name contains `filter` (any name when it is missing or `*`). */
export interface Conditional {
  readonly filter?: string;
  readonly value: Scalar | readonly Scalar[];
}

/** One value, values spread over the layers, or conditions of which the first that fits counts. */
export type Setting = Scalar | readonly Scalar[] | Conditional | readonly Conditional[];

export type Settings = Readonly<Record<string, Setting>>;

const isScalar = (value: Setting): value is Scalar => typeof value !== 'object';
const isList = (value: Setting): value is readonly Scalar[] =>
  Array.isArray(value) && (value as readonly unknown[]).every((entry) => typeof entry !== 'object');

/**
 * A list at depth `t` (0: first layer, 1: last): numbers are joined by straight lines at equal distances, anything else
 * changes in steps. NOTE: mergekit also interpolates booleans; here they are steps.
 */
function atDepth(list: readonly Scalar[], t: number): Scalar {
  const at = t * (list.length - 1);
  const low = Math.floor(at);
  const [a, b] = [list[low]!, list[Math.min(low + 1, list.length - 1)]!];
  return typeof a === 'number' && typeof b === 'number' ? a + (at - low) * (b - a) : a;
}

/** The value for one tensor, or undefined where no condition fits. */
export function settingFor(setting: Setting, tensor: string, t: number): Scalar | undefined {
  if (isScalar(setting)) return setting;
  if (isList(setting)) return atDepth(setting, t);
  const conditions = (Array.isArray(setting) ? setting : [setting]) as readonly Conditional[];
  const fits = ({ filter = '*' }: Conditional) => filter === '*' || tensor.includes(filter);
  const found = conditions.find(fits);
  return found && settingFor(found.value, tensor, t);
}

/** The values for one tensor of several levels: the first level that has one for a key wins (model, slice, recipe). */
export function settingsFor(levels: readonly Settings[], tensor: string, t: number): Record<string, Scalar> {
  const values: Record<string, Scalar> = {};
  for (const level of [...levels].reverse())
    for (const [key, setting] of Object.entries(level)) {
      const value = settingFor(setting, tensor, t);
      if (value !== undefined) values[key] = value;
    }
  return values;
}
