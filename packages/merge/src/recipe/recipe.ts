import { type DType, PeftError, Problems } from '@peftjs/core';
import { parseAllDocuments } from 'yaml';
import type * as z from 'zod';
import { RecipeFile, type Reference } from './schema.js';
import type { Settings } from './settings.js';

/** A model of a recipe: a checkpoint, or a checkpoint with an adapter in it. */
export interface ModelPath {
  readonly path: string;
  readonly adapter?: string;
}

export interface RecipeModel {
  readonly model: ModelPath;
  readonly parameters: Settings;
}

/** Layers of several models, of which the layers at the same place are merged. */
export interface RecipeSlice {
  readonly sources: readonly (RecipeModel & { readonly layers: readonly [from: number, to: number] })[];
  readonly base?: ModelPath;
  readonly parameters: Settings;
}

/** A mergekit recipe, read. Either `models`, merged whole, or `slices`, stacked one on the other. */
export interface Recipe {
  readonly method: string;
  readonly base?: ModelPath;
  readonly models?: readonly RecipeModel[];
  readonly slices?: readonly RecipeSlice[];
  readonly parameters: Settings;
  readonly outDtype?: DType;
  /** Whose tokenizer goes with the result; `union` is that of all of them where they are the same. */
  readonly tokenizer?: 'base' | 'union' | ModelPath;
}

const dtypes = { float32: 'f32', float16: 'f16', bfloat16: 'bf16' } as const;

/**
 * Reads a recipe of mergekit: `merge_method`, `models` or `slices`, `base_model`, `parameters`, `dtype`, `out_dtype`,
 * `tokenizer_source`. Arithmetic is always float32, so `dtype` stands for `out_dtype` where that is missing.
 * @param subject what messages call the recipe.
 * @throws PeftError CONFIG_INVALID for what is no recipe, CONFIG_UNSUPPORTED naming everything that is not done here.
 */
export function readRecipe(text: string, subject = 'The recipe'): Recipe {
  const parsed = RecipeFile.safeParse(parseYaml(text, subject));
  if (!parsed.success) throw refusal(parsed.error.issues, subject);
  const { merge_method: method, models, slices, base_model: base, parameters, ...file } = parsed.data;
  const problems = new Problems();
  if (!models === !slices) problems.add(`it needs either models or slices, ${models ? 'not both' : 'it has neither'}.`);
  const path = (reference: Reference, at: string): ModelPath => modelPath(reference, at, problems);
  const outDtype = file.out_dtype ?? file.dtype;
  const tokenizer = file.tokenizer_source;
  const recipe: Recipe = {
    method,
    parameters,
    ...(base && { base: path(base, 'base_model') }),
    ...(models && {
      models: models.map((m, i) => ({ model: path(m.model, `models[${i}]`), parameters: m.parameters })),
    }),
    ...(slices && {
      slices: slices.map((s, i) => ({
        sources: s.sources.map((source, j) => ({
          model: path(source.model, `slices[${i}].sources[${j}]`),
          layers: source.layer_range,
          parameters: source.parameters,
        })),
        ...(s.base_model && { base: path(s.base_model, `slices[${i}].base_model`) }),
        parameters: s.parameters,
      })),
    }),
    ...(outDtype && { outDtype: dtypes[outDtype] }),
    ...(tokenizer && {
      tokenizer: tokenizer === 'base' || tokenizer === 'union' ? tokenizer : path(tokenizer, 'tokenizer_source'),
    }),
  };
  for (const [i, { sources }] of (recipe.slices ?? []).entries()) {
    const lengths = new Set(sources.map(({ layers: [from, to] }) => to - from));
    if (lengths.size > 1) problems.add(`slices[${i}] takes ${[...lengths].join(' and ')} layers of its sources.`);
  }
  problems.throwIfAny('CONFIG_INVALID', subject);
  return recipe;
}

function parseYaml(text: string, subject: string): unknown {
  const documents = parseAllDocuments(text);
  const [first, ...more] = Array.isArray(documents) ? documents : [];
  if (!first) throw new PeftError('CONFIG_INVALID', `${subject} is empty.`);
  if (more.length > 0)
    throw new PeftError('CONFIG_UNSUPPORTED', `${subject} holds ${more.length + 1} documents: run them one by one.`);
  const problems = new Problems();
  for (const { message } of first.errors) problems.add(message);
  problems.throwIfAny('CONFIG_INVALID', `${subject} is no YAML`);
  return first.toJS({ maxAliasCount: 100 });
}

/** `PATH`, `PATH+ADAPTER`; `@REVISION` belongs to a hub and is refused. */
function modelPath(reference: Reference, at: string, problems: Problems): ModelPath {
  const whole = typeof reference === 'string' || 'path' in reference ? { model: reference, lora: null } : reference;
  const plain = (part: string | { readonly path: string }) => (typeof part === 'string' ? part : part.path);
  const [path = '', inline] = plain(whole.model).split('+');
  const adapter = whole.lora ? plain(whole.lora) : inline;
  for (const part of [path, adapter])
    if (part && /@[^/\\]*$/.test(part))
      problems.add(`${at}: ${part} names a revision of a hub; download it and name its folder.`);
  return { path, ...(adapter && { adapter }) };
}

/** What is missing is a mistake; anything else is something that mergekit may do and this version does not. */
function refusal(issues: readonly z.core.$ZodIssue[], subject: string): PeftError {
  const problems = issues.flatMap(({ path, message, code, ...issue }) => {
    const at = path.map(String).join('.');
    if (code !== 'unrecognized_keys') return [`${at || 'it'}: ${message}`];
    return (issue as unknown as { keys: string[] }).keys.map((key) => `${at ? `${at}.` : ''}${key} is not done here`);
  });
  const missing = issues.every(({ path, message }) => path.length <= 1 && /received (undefined|null)/.test(message));
  const text = `${subject}:\n- ${problems.join('\n- ')}`;
  return new PeftError(missing ? 'CONFIG_INVALID' : 'CONFIG_UNSUPPORTED', text, { details: { problems } });
}
