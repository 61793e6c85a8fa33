import { PeftError, Problems } from '@peftjs/core';
import type { FileSet } from '@peftjs/core/files';
import * as z from 'zod';
import { nameOf, readJson } from './directory.js';

/** config.json as it stands in the file. */
export type RawConfig = Readonly<Record<string, unknown>>;

/** What every model's configuration says, whatever its architecture. */
export interface ModelConfig {
  readonly raw: RawConfig;
  readonly modelType: string;
  /** Class names of transformers, e.g. `BertForSequenceClassification`. */
  readonly classes: readonly string[];
  /** Labels of a classification head in the order of its outputs. */
  readonly labels?: readonly string[];
  /** Standard deviation of new weights. */
  readonly initializerRange: number;
  readonly maxPositions?: number;
  readonly bosId?: number;
  readonly eosIds: readonly number[];
  readonly padId?: number;
}

const Id = z.int().nonnegative();
const Ids = z.union([Id, z.array(Id)]);
const Generation = z.looseObject({
  bos_token_id: Ids.nullish(),
  eos_token_id: Ids.nullish(),
  pad_token_id: Ids.nullish(),
});
const Fields = z.looseObject({
  ...Generation.shape,
  model_type: z.string(),
  architectures: z.array(z.string()).nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  initializer_range: z.number().positive().default(0.02),
  max_position_embeddings: z.int().positive().nullish(),
});

/**
 * Checks a config.json against the fields an architecture reads. `map` reports what is understood but not built.
 * @throws PeftError FILE_INVALID with every wrong field, MODEL_UNSUPPORTED with every feature not built
 */
export function readFields<F, C>(
  raw: RawConfig,
  schema: z.ZodType<F>,
  map: (fields: F, unsupported: (feature: string) => void) => C,
): C {
  const parsed = schema.safeParse(raw);
  const problems = new Problems();
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.add(`${issue.path.join('.')}: ${issue.message}`);
    problems.throwIfAny('FILE_INVALID', 'config.json');
    throw parsed.error;
  }
  const mapped = map(parsed.data, (feature) => problems.add(`${feature} is not supported`));
  problems.throwIfAny('MODEL_UNSUPPORTED', `Model of type "${String(raw.model_type)}"`);
  return mapped;
}

const list = (ids: number | readonly number[] | null | undefined): readonly number[] =>
  ids === null || ids === undefined ? [] : typeof ids === 'number' ? [ids] : ids;

/** Labels 0, 1, ... of `id2label`; undefined when the keys are not those. */
function labelsOf(id2label: Readonly<Record<string, string>> | null | undefined): string[] | undefined {
  if (!id2label) return undefined;
  const labels = Object.keys(id2label).map((_, i) => id2label[String(i)]);
  return labels.every((label) => label !== undefined) ? (labels as string[]) : undefined;
}

/** @throws PeftError FILE_INVALID */
export function modelConfig(raw: RawConfig, generation: RawConfig = {}): ModelConfig {
  return readFields(raw, Fields, (f) => {
    const chosen = readFields(generation, Generation, (g) => g);
    const pick = (name: 'bos_token_id' | 'eos_token_id' | 'pad_token_id') => list(chosen[name] ?? f[name]);
    const labels = labelsOf(f.id2label);
    const [bosId, padId] = [pick('bos_token_id')[0], pick('pad_token_id')[0]];
    return {
      raw,
      modelType: f.model_type,
      classes: f.architectures ?? [],
      initializerRange: f.initializer_range,
      eosIds: pick('eos_token_id'),
      ...(labels && { labels }),
      ...(f.max_position_embeddings && { maxPositions: f.max_position_embeddings }),
      ...(bosId !== undefined && { bosId }),
      ...(padId !== undefined && { padId }),
    };
  });
}

/** Reads config.json, and generation_config.json when it is there. @throws PeftError FILE_MISSING, FILE_INVALID */
export async function readConfig(files: string | FileSet): Promise<ModelConfig> {
  const raw = await readJson(files, 'config.json');
  if (raw) return modelConfig(raw, await readJson(files, 'generation_config.json'));
  const directory = nameOf(files);
  const message = `"${directory}" has no config.json: it is not a Hugging Face model directory.`;
  throw new PeftError('FILE_MISSING', message, { details: { directory } });
}
