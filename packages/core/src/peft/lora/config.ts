import * as z from 'zod';
import type { FileNames } from '../../adapter/config.js';
import { type PatternEntry, patternLookup } from '../../adapter/patterns.js';
import { brief, type FileFormat, readConfig, ruleFileKeys, sharedFileKeys } from '../common/config.js';
import type { LayoutInput } from '../layout.js';
import { carried, loraDefaults } from './defaults.js';

/** Keys of LoRA configurations in code whose names in PEFT's files are not their snake_case. */
export const loraFileNames: FileNames = {
  alpha: 'lora_alpha',
  dropout: 'lora_dropout',
  rslora: 'use_rslora',
  dora: 'use_dora',
  init: 'init_lora_weights',
};

const rank = z.number().int().positive();
const token = z.number().int().nonnegative();

/** The keys that decide what the adapter computes. */
const schema = z.object({
  ...sharedFileKeys,
  ...ruleFileKeys,
  r: rank.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().min(0).max(1).nullish(),
  use_rslora: z.boolean().nullish(),
  use_dora: z.boolean().nullish(),
  lora_bias: z.boolean().nullish(),
  bias: z.enum(['none', 'all', 'lora_only']).nullish(),
  init_lora_weights: z.union([z.boolean(), z.string()]).nullish(),
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  trainable_token_indices: z.union([z.array(token), z.record(z.string(), z.array(token))]).nullish(),
});

export type LoraFile = z.output<typeof schema>;

export const loraFormat: FileFormat<typeof schema> = { schema, defaults: loraDefaults, carried, names: loraFileNames };

/** Starts that leave the base as it is, so that B A is the whole change. */
const plainStarts: readonly unknown[] = [true, false, null, undefined, 'gaussian', 'orthogonal', 'eva', 'mica'];

/**
 * Checks the configuration of a LORA folder.
 * @throws PeftError CONFIG_UNSUPPORTED naming every key that asks for what is not done here, ADAPTER_INVALID for values
 *   that make no sense
 */
export function readLoraConfig(input: LayoutInput): LoraFile {
  const file = readConfig(input, loraFormat, (config, unsupported) => {
    const start = config.get('init_lora_weights');
    if ((typeof start === 'string' || start === null) && !plainStarts.includes(start))
      unsupported.add(
        `init_lora_weights: ${brief(start)} starts by changing the base, so the stored factors are not the change against it. Save it with PEFT's path_initial_model_for_weight_conversion, which stores the difference.`,
      );
  });
  const { config, subject, warn } = input;
  for (const key of ['r', 'lora_alpha'])
    if (!config.has(key)) warn(`${subject} does not say ${key}; PEFT's default ${brief(loraDefaults[key])} is taken.`);
  return file;
}

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
