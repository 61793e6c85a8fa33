import { z } from 'zod';
import { codeKey, type FileNames, fileKey } from '../../adapter/config.js';
import type { TargetRules } from '../../adapter/match.js';
import { type PatternEntry, patternLookup } from '../../adapter/patterns.js';
import { Problems } from '../../errors.js';
import type { LayoutInput, PeftConfig } from '../layout.js';
import { carried, loraDefaults } from './defaults.js';

/** Keys of LoRA configurations in code whose names in PEFT's files are not their snake_case. */
export const loraFileNames: FileNames = {
  alpha: 'lora_alpha',
  dropout: 'lora_dropout',
  rslora: 'use_rslora',
  init: 'init_lora_weights',
};

const strings = z.array(z.string());
const rank = z.number().int().positive();

/** The keys that decide what the adapter computes. */
const schema = z.object({
  r: rank.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().min(0).max(1).nullish(),
  use_rslora: z.boolean().nullish(),
  lora_bias: z.boolean().nullish(),
  fan_in_fan_out: z.boolean().nullish(),
  bias: z.enum(['none', 'all', 'lora_only']).nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  target_modules: z.union([z.string(), strings]).nullish(),
  exclude_modules: z.union([z.string(), strings]).nullish(),
  layers_to_transform: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  layers_pattern: z.union([z.string(), strings]).nullish(),
  modules_to_save: strings.nullish(),
  base_model_name_or_path: z.string().nullish(),
  task_type: z
    .enum(['SEQ_CLS', 'SEQ_2_SEQ_LM', 'CAUSAL_LM', 'TOKEN_CLS', 'QUESTION_ANS', 'FEATURE_EXTRACTION'])
    .nullish(),
});

export type LoraFile = z.output<typeof schema>;

/** Starts that leave the base as it is, so that B A is the whole change. */
const plainStarts: readonly unknown[] = [true, false, null, undefined, 'gaussian', 'orthogonal', 'eva', 'mica'];

/**
 * Checks the configuration of a LORA folder.
 * @throws PeftError CONFIG_UNSUPPORTED naming every key that asks for what is not done here, ADAPTER_INVALID for values
 *   that make no sense
 */
export function readLoraConfig({ config, subject, warn }: LayoutInput): LoraFile {
  const unsupported = new Problems();
  for (const [key, value] of config) {
    if (Object.hasOwn(schema.shape, key) || carried.has(key)) continue;
    const known = Object.hasOwn(loraDefaults, key);
    if (neutral(value, known ? loraDefaults[key] : undefined)) continue;
    if (known) unsupported.add(`${key}: ${brief(value)} asks for a variant that this version does not compute.`);
    else
      warn(
        `${subject} has a key that neither PEFT ${String(config.get('peft_version') ?? '')} nor peftjs is known to read: ${JSON.stringify(key)}. It is kept and not followed.`,
      );
  }
  const start = config.get('init_lora_weights');
  if ((typeof start === 'string' || start === null) && !plainStarts.includes(start))
    unsupported.add(
      `init_lora_weights: ${brief(start)} starts by changing the base, so the stored factors are not the change against it. Save it with PEFT's path_initial_model_for_weight_conversion, which stores the difference.`,
    );
  unsupported.throwIfAny('CONFIG_UNSUPPORTED', subject);

  const parsed = schema.safeParse(Object.fromEntries(config));
  const problems = new Problems();
  for (const issue of parsed.error?.issues ?? [])
    problems.add(`${issue.path.join('.')}: ${issue.message} (given: ${brief(config.get(String(issue.path[0])))})`);
  problems.throwIfAny('ADAPTER_INVALID', `${subject}, its configuration`);
  for (const key of ['r', 'lora_alpha'])
    if (!config.has(key)) warn(`${subject} does not say ${key}; PEFT's default ${brief(loraDefaults[key])} is taken.`);
  return parsed.data!;
}

/** Absent in effect: null, false, empty, or what PEFT would have taken anyway. */
export const neutral = (value: unknown, standard: unknown): boolean =>
  value === null ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value as object).length === 0) ||
  value === standard;

const brief = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
};

export const rulesOfFile = (file: LoraFile): TargetRules | undefined =>
  file.target_modules == null
    ? undefined
    : {
        targetModules: file.target_modules,
        excludeModules: file.exclude_modules ?? undefined,
        layersToTransform: file.layers_to_transform ?? undefined,
        layersPattern: file.layers_pattern ?? undefined,
        modulesToSave: file.modules_to_save ?? undefined,
      };

/** Rank, alpha and scale of each module: patterns first, then the whole adapter's. */
export function scaling(file: Pick<LoraFile, 'r' | 'lora_alpha' | 'rank_pattern' | 'alpha_pattern' | 'use_rslora'>) {
  const ranks = patternLookup(file.rank_pattern ?? {}, 'rank_pattern');
  const alphas = patternLookup(file.alpha_pattern ?? {}, 'alpha_pattern');
  const chosen = (entry: PatternEntry<number> | undefined, other: number) => entry?.value ?? other;
  return (module: string) => {
    const r = chosen(ranks(module), file.r);
    const alpha = chosen(alphas(module), file.lora_alpha);
    return { r, alpha, scale: alpha / (file.use_rslora ? Math.sqrt(r) : r) };
  };
}

/** Keys of the file that code has too, by the names they have there. */
const codeNames = Object.keys(schema.shape)
  .filter((key) => key !== 'base_model_name_or_path' && key !== 'task_type')
  .map((key) => codeKey(key, loraFileNames));

/** The configuration as code writes it; absent keys stay absent. */
export function toCode(file: LoraFile): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const key of codeNames) {
    const value = (file as Record<string, unknown>)[fileKey(key, loraFileNames)];
    if (value !== null && value !== undefined) config[key] = value;
  }
  return config;
}

/** A configuration in code as the file's keys, without those that the file does not have. */
export function toFile(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const file: Record<string, unknown> = {};
  for (const key of codeNames) if (config[key] !== undefined) file[fileKey(key, loraFileNames)] = config[key];
  return file;
}

export const asConfig = (record: Readonly<Record<string, unknown>>): PeftConfig => new Map(Object.entries(record));
