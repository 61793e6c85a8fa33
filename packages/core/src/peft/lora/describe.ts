import type { Adapter, Term } from '../../delta/delta.js';
import { toFile } from '../common/config.js';
import { completeConfig, ownConfig, targetRules } from '../common/describe.js';
import { fullParameters } from '../common/full.js';
import type { PeftConfig } from '../layout.js';
import { type LoraFile, loraFormat, scaling } from './config.js';
import { loraDefaults } from './defaults.js';

/** What one module adds: factors, and a change of its bias where it has one. */
export interface Module {
  readonly path: string;
  readonly weight: Term;
  readonly bias?: Term;
  readonly r: number;
  readonly scale: number;
}

/** What a LORA folder holds. */
export interface LoraContent {
  readonly modules: readonly Module[];
  /** The rows that are set of each table, by its module. */
  readonly tokens: ReadonlyMap<string, readonly number[]>;
  /** Whether the modules have magnitudes. */
  readonly dora: boolean;
}

/** The configuration of a folder that holds these modules: what was given where it is true of them. */
export function describeLora(adapter: Adapter, { modules, tokens, dora }: LoraContent): PeftConfig {
  const peft = ownConfig(adapter, 'LORA');
  const given = toFile((adapter.method?.config ?? {}) as Record<string, unknown>, loraFormat);
  const paths = modules.map(({ path }) => path);
  return completeConfig(adapter, 'LORA', {
    ...loraDefaults,
    ...peft,
    lora_dropout: given.lora_dropout ?? 0,
    init_lora_weights: true,
    ...targetRules(paths, given),
    ...ranksAndScales(modules, given, peft),
    ...fullParameters(adapter, paths, given, 'lora_only'),
    lora_bias: modules.some(({ bias }) => bias !== undefined),
    fan_in_fan_out: modules.some(({ weight }) => weight.meta.transposed === true && weight.meta.embedding !== true),
    trainable_token_indices: tokens.size > 0 ? Object.fromEntries(tokens) : null,
    use_dora: dora,
  });
}

/** The given numbers where they explain every module; else the commonest, and patterns for the rest. */
function ranksAndScales(
  modules: readonly Module[],
  given: Readonly<Record<string, unknown>>,
  peft: Readonly<Record<string, unknown>>,
) {
  const rslora = given.use_rslora === true || (given.use_rslora === undefined && peft.use_rslora === true);
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
