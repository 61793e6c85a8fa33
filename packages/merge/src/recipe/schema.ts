import * as z from 'zod';
import type { Setting, Settings } from './settings.js';

/** Values of a recipe as YAML gives them; keys that are not read here are refused by `readRecipe`, by name. */

const scalar = z.union([z.number(), z.boolean(), z.string()]);
const values = z.union([scalar, z.array(scalar).min(1)]);
const conditional = z.strictObject({ filter: z.string().nullish(), value: values });

const setting: z.ZodType<Setting> = z
  .union([values, conditional, z.array(conditional).min(1)], {
    error: 'expected a value, a list of values over the layers, or { filter, value }',
  })
  .transform((value) => dropNull(value) as Setting);

/** `filter: null` in YAML is no filter. */
function dropNull(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(dropNull);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null));
}

const settings: z.ZodType<Settings> = z
  .record(z.string(), setting)
  .nullish()
  .transform((record) => record ?? {});

const pathObject = z.strictObject({ path: z.string().min(1), revision: z.null().optional() });
const reference = z.union(
  [
    z.string().min(1),
    pathObject,
    z.strictObject({
      model: z.union([z.string().min(1), pathObject]),
      lora: z.union([z.string().min(1), pathObject]).nullish(),
      override_architecture: z.null().optional(),
    }),
  ],
  { error: 'expected the path of a model, PATH+ADAPTER, or { model: { path }, lora: { path } } without a revision' },
);
export type Reference = z.output<typeof reference>;

const model = z.strictObject({ model: reference, parameters: settings });
const layer = z.int().min(0);
const source = z.strictObject({
  model: reference,
  layer_range: z.tuple([layer, layer]).refine(([from, to]) => to > from, { error: 'holds no layer' }),
  parameters: settings,
});
const slice = z.strictObject({
  sources: z.array(source).min(1),
  base_model: reference.nullish(),
  parameters: settings,
});
const dtype = z.enum(['float32', 'float16', 'bfloat16']);

export const RecipeFile = z.strictObject({
  merge_method: z.string().min(1),
  base_model: reference.nullish(),
  models: z.array(model).min(1).nullish(),
  slices: z.array(slice).min(1).nullish(),
  parameters: settings,
  dtype: dtype.nullish(),
  out_dtype: dtype.nullish(),
  tokenizer_source: z.union([z.string().min(1), reference]).nullish(),
});
export type RecipeFile = z.output<typeof RecipeFile>;
