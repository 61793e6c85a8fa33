import * as z from 'zod';
import { codeKey, type FileNames, fileKey } from '../../adapter/config.js';
import type { TargetRules } from '../../adapter/match.js';
import { Problems } from '../../errors.js';
import type { LayoutInput, PeftConfig } from '../layout.js';

const strings = z.array(z.string());
const modules = z.union([z.string(), strings]).nullish();

/** Keys of every layout that decide what an adapter computes. */
export const sharedFileKeys = {
  fan_in_fan_out: z.boolean().nullish(),
  target_modules: modules,
  modules_to_save: strings.nullish(),
  base_model_name_or_path: z.string().nullish(),
  task_type: z
    .enum(['SEQ_CLS', 'SEQ_2_SEQ_LM', 'CAUSAL_LM', 'TOKEN_CLS', 'QUESTION_ANS', 'FEATURE_EXTRACTION'])
    .nullish(),
};

/** Keys with which some layouts choose modules more finely. */
export const ruleFileKeys = {
  exclude_modules: modules,
  layers_to_transform: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  layers_pattern: modules,
};

export type SharedFile = z.output<ReturnType<typeof z.object<typeof sharedFileKeys>>>;
type RuleFile = SharedFile & Partial<z.output<ReturnType<typeof z.object<typeof ruleFileKeys>>>>;

/** A `peft_type` as its files have it. */
export interface FileFormat<Schema extends z.ZodObject> {
  /** Keys that decide what the adapter computes. */
  readonly schema: Schema;
  /** Every key of PEFT's class with its default. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Keys that say nothing about what it computes: carried along, never followed. */
  readonly carried: ReadonlySet<string>;
  /** Keys whose names in code are not their camelCase. */
  readonly names?: FileNames;
}

/** Keys of every class that are carried along. */
export const carriedKeys = ['auto_mapping', 'inference_mode', 'peft_type', 'peft_version', 'revision'] as const;

/** Defaults of the keys of every class. */
export const baseDefaults = {
  auto_mapping: null,
  base_model_name_or_path: null,
  inference_mode: false,
  modules_to_save: null,
  peft_version: null,
  revision: null,
  target_modules: null,
  task_type: null,
} as const;

/**
 * Checks the configuration of a folder.
 * @param refuse adds what its values ask for that is not done here
 * @throws PeftError CONFIG_UNSUPPORTED naming every such key, ADAPTER_INVALID for values that make no sense
 */
export function readConfig<Schema extends z.ZodObject>(
  { config, subject, warn }: LayoutInput,
  { schema, defaults, carried }: FileFormat<Schema>,
  refuse: (config: PeftConfig, problems: Problems) => void = () => {},
): z.output<Schema> {
  const unsupported = new Problems();
  for (const [key, value] of config) {
    if (Object.hasOwn(schema.shape, key) || carried.has(key)) continue;
    const known = Object.hasOwn(defaults, key);
    if (neutral(value, known ? defaults[key] : undefined)) continue;
    if (known) unsupported.add(`${key}: ${brief(value)} asks for a variant that this version does not compute.`);
    else
      warn(
        `${subject} has a key that neither PEFT ${String(config.get('peft_version') ?? '')} nor peftjs is known to read: ${JSON.stringify(key)}. It is kept and not followed.`,
      );
  }
  refuse(config, unsupported);
  unsupported.throwIfAny('CONFIG_UNSUPPORTED', subject);

  const parsed = schema.safeParse(Object.fromEntries(config));
  const problems = new Problems();
  for (const issue of parsed.error?.issues ?? [])
    problems.add(`${issue.path.join('.')}: ${issue.message} (given: ${brief(config.get(String(issue.path[0])))})`);
  problems.throwIfAny('ADAPTER_INVALID', `${subject}, its configuration`);
  return parsed.data!;
}

/** Absent in effect: null, false, empty, or what PEFT would have taken anyway. */
export const neutral = (value: unknown, standard: unknown): boolean =>
  value === null ||
  value === false ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value as object).length === 0) ||
  value === standard;

export const brief = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
};

export const rulesOfFile = (file: RuleFile): TargetRules | undefined =>
  file.target_modules == null
    ? undefined
    : {
        targetModules: file.target_modules,
        excludeModules: file.exclude_modules ?? undefined,
        layersToTransform: file.layers_to_transform ?? undefined,
        layersPattern: file.layers_pattern ?? undefined,
        modulesToSave: file.modules_to_save ?? undefined,
      };

/** Keys of the file that code has too, by the names they have there. */
const codeNames = ({ schema, names }: FileFormat<z.ZodObject>): string[] =>
  Object.keys(schema.shape)
    .filter((key) => key !== 'base_model_name_or_path' && key !== 'task_type')
    .map((key) => codeKey(key, names));

/** The configuration as code writes it; absent keys stay absent. */
export function toCode(
  file: Readonly<Record<string, unknown>>,
  format: FileFormat<z.ZodObject>,
): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const key of codeNames(format)) {
    const value = file[fileKey(key, format.names)];
    if (value !== null && value !== undefined) config[key] = value;
  }
  return config;
}

/** A configuration in code as the file's keys, without those that the file does not have. */
export function toFile(
  config: Readonly<Record<string, unknown>>,
  format: FileFormat<z.ZodObject>,
): Record<string, unknown> {
  const file: Record<string, unknown> = {};
  for (const key of codeNames(format)) if (config[key] !== undefined) file[fileKey(key, format.names)] = config[key];
  return file;
}
