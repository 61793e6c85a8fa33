import { matchModules } from '../../adapter/match.js';
import { isSaved, modulePaths } from '../../adapter/patterns.js';
import type { Adapter, Term } from '../../delta/delta.js';
import type { PeftConfig } from '../layout.js';
import { peftVersion, taskTypes } from '../names.js';
import { asConfig, type LoraFile, scaling, toFile } from './config.js';
import { loraDefaults } from './defaults.js';

/** What one module adds: a low-rank term, and a change of its bias where it has one. */
export interface Module {
  readonly path: string;
  readonly weight: Term;
  readonly bias?: Term;
  readonly r: number;
  readonly scale: number;
}

/** The configuration of a folder that holds these modules: what was given where it is true of them. */
export function describeLora(adapter: Adapter, modules: readonly Module[]): PeftConfig {
  const given = toFile((adapter.method?.config ?? {}) as Record<string, unknown>);
  const numbers = ranksAndScales(modules, given, adapter.peft);
  const all: Record<string, unknown> = {
    ...loraDefaults,
    ...adapter.peft,
    lora_dropout: given.lora_dropout ?? 0,
    init_lora_weights: true,
    ...targetRules(modules, given),
    ...numbers,
    ...fullParameters(adapter, modules, given),
    lora_bias: modules.some(({ bias }) => bias !== undefined),
    fan_in_fan_out: modules.some(({ weight }) => weight.meta.transposed === true && weight.meta.embedding !== true),
    base_model_name_or_path: adapter.base?.name ?? null,
    inference_mode: true,
    peft_type: 'LORA',
    peft_version: adapter.peft?.peft_version ?? peftVersion,
    task_type: adapter.peft?.task_type ?? taskTypes[adapter.task?.name ?? ''] ?? null,
  };
  return asConfig(Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))));
}

/** The given numbers where they explain every module; else the commonest, and patterns for the rest. */
function ranksAndScales(modules: readonly Module[], given: Record<string, unknown>, peft: Adapter['peft']) {
  const rslora = given.use_rslora === true || (given.use_rslora === undefined && peft?.use_rslora === true);
  const known = {
    r: given.r,
    lora_alpha: given.lora_alpha,
    rank_pattern: given.rank_pattern ?? {},
    alpha_pattern: given.alpha_pattern ?? {},
    use_rslora: rslora,
  };
  if (typeof known.r === 'number' && typeof known.lora_alpha === 'number') {
    const expected = scaling(known as Pick<LoraFile, keyof typeof known>);
    const explained = modules.every(({ path, r, scale }) => {
      const want = expected(path);
      return want.r === r && want.scale === scale;
    });
    if (explained) return known;
  }
  const found = modules.map(({ path, r, scale }) => ({ path, r, alpha: scale * (rslora ? Math.sqrt(r) : r) }));
  const r = commonest(found.map((m) => m.r));
  const alpha = commonest(found.map((m) => m.alpha));
  const pattern = <T>(entries: readonly { path: string; value: T }[], whole: T) =>
    Object.fromEntries(entries.filter(({ value }) => value !== whole).map(({ path, value }) => [`^${path}`, value]));
  return {
    r,
    lora_alpha: alpha,
    rank_pattern: pattern(
      found.map((m) => ({ path: m.path, value: m.r })),
      r,
    ),
    alpha_pattern: pattern(
      found.map((m) => ({ path: m.path, value: m.alpha })),
      alpha,
    ),
    use_rslora: rslora,
  };
}

function commonest(values: readonly number[]): number {
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, next) => (next[1] > best[1] ? next : best))[0];
}

/** The rules that were given, where they are names or an expression that select every module; else all paths by name. */
function targetRules(modules: readonly Module[], given: Record<string, unknown>): Record<string, unknown> {
  const paths = modules.map(({ path }) => path);
  const rules = {
    exclude_modules: given.exclude_modules ?? null,
    layers_to_transform: given.layers_to_transform ?? null,
    layers_pattern: given.layers_pattern ?? null,
  };
  const targets = given.target_modules as string | readonly string[] | undefined;
  if (targets !== undefined && targets !== 'all-linear') {
    const { matched, unmatched } = matchModules(paths, {
      targetModules: targets,
      layersToTransform: given.layers_to_transform as number | readonly number[] | undefined,
      layersPattern: given.layers_pattern as string | readonly string[] | undefined,
    });
    if (matched.length === paths.length && !unmatched.some(({ rule }) => rule === 'targetModules'))
      return { ...rules, target_modules: targets };
  }
  return { exclude_modules: null, layers_to_transform: null, layers_pattern: null, target_modules: [...paths].sort() };
}

/** `bias` and `modules_to_save` that account for everything replaced. */
function fullParameters(
  adapter: Adapter,
  modules: readonly Module[],
  given: Record<string, unknown>,
): Record<string, unknown> {
  const adapted = new Set(modules.map(({ path }) => path));
  const moduleOf = (path: string) => path.slice(0, path.lastIndexOf('.'));
  const within = (path: string, entries: readonly string[]) => modulePaths([path]).some((m) => isSaved(m, entries));
  const paths = [...adapter.replaced.keys()];
  const listed = [...new Set((given.modules_to_save ?? []) as readonly string[])].filter((entry) =>
    paths.some((path) => within(path, [entry])),
  );
  const isOwnBias = (path: string) => path.endsWith('.bias') && adapted.has(moduleOf(path));
  const isOwnWeight = (path: string) => path.endsWith('.weight') && adapted.has(moduleOf(path)); // a resized embedding
  const rest = paths.filter((path) => !within(path, listed) && !isOwnWeight(path));
  const all = given.bias === 'all';
  const only = rest.some(isOwnBias) || (typeof given.bias === 'string' && given.bias.endsWith('_only'));
  const unlisted = rest.filter((path) => !isOwnBias(path) && !(all && path.includes('bias')));
  const saved = [...listed, ...new Set(unlisted.map(moduleOf))];
  return { bias: all ? 'all' : only ? 'lora_only' : 'none', modules_to_save: saved.length > 0 ? saved : null };
}
