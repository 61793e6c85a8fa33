import * as z from 'zod';
import { PeftError } from '../errors.js';
import type { TargetRules } from './match.js';
import { nearNames } from './near.js';

const names = z.array(z.string().min(1));
const tokens = z.array(z.number().int().nonnegative()).min(1);

/** Keys that every method has. `bias` trains biases as they are: none, all of the model, or those of the targets. */
export const sharedConfig = (method: string) =>
  z
    .object({
      targetModules: z
        .union([z.string().min(1), names.min(1)])
        .default('all-linear')
        .meta({
          description: "Modules to adapt: names, one regular expression for whole paths, 'all-linear' or 'all'.",
        }),
      excludeModules: z
        .union([z.string(), names])
        .optional()
        .meta({ description: 'Modules to leave out; wins over targetModules.' }),
      layersToTransform: z
        .union([z.number().int().nonnegative(), z.array(z.number().int().nonnegative())])
        .optional()
        .meta({ description: 'Layer numbers to adapt; only with a list of names.' }),
      layersPattern: z
        .union([z.string(), names])
        .optional()
        .meta({ description: 'What stands before the layer number in a path.' }),
      modulesToSave: names.default([]).meta({ description: 'Modules trained and saved in full, e.g. a new head.' }),
      trainableTokenIndices: z
        .union([tokens, z.record(z.string().min(1), tokens)])
        .optional()
        .meta({
          description:
            'Rows of embeddings trained and saved in full: token numbers of the first embedding, or by the names of embeddings.',
        }),
      dropout: z
        .number()
        .min(0)
        .lt(1)
        .default(0)
        .meta({ description: "Probability of dropping an element of the adapter's input." }),
      bias: z
        .enum(['none', 'all', `${method}_only`])
        .default('none')
        .meta({ description: 'Biases to train beside the adapter.' }),
    })
    .superRefine((c, context) => {
      const layers = c.layersToTransform !== undefined;
      if (layers && typeof c.targetModules === 'string')
        context.addIssue({
          code: 'custom',
          path: ['layersToTransform'],
          message: 'needs targetModules as a list of names',
        });
      if (!layers && c.layersPattern !== undefined)
        context.addIssue({
          code: 'custom',
          path: ['layersPattern'],
          message: 'has no effect without layersToTransform',
        });
    });

export type SharedConfig = z.output<ReturnType<typeof sharedConfig>>;
/** What a person may give; `bias` also takes `<method>_only`. */
export type SharedOptions = z.input<ReturnType<typeof sharedConfig>>;

/** The keys every method shares, read from the schema itself. */
export const sharedKeys: ReadonlySet<string> = new Set(Object.keys(sharedConfig('method').shape));

export const rulesOf = (c: SharedConfig): TargetRules => c;

const toCamel = (key: string): string => key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
const toSnake = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Names of one configuration in files: those that snake_case does not give. */
export type FileNames = Readonly<Record<string, string>>;

/** The key as a file writes it: `alpha` -> `lora_alpha` where `fileNames` says so, else snake_case. */
export const fileKey = (key: string, fileNames: FileNames = {}): string => fileNames[key] ?? toSnake(key);

/** The key as code writes it, from either spelling. */
export function codeKey(key: string, fileNames: FileNames = {}): string {
  const named = Object.entries(fileNames).find(([, file]) => file === key);
  return named?.[0] ?? toCamel(key);
}

/** What `resolveConfig` needs of a method. */
export interface Configured<Schema extends z.ZodType> {
  readonly name: string;
  readonly config: Schema;
  readonly defaults?: Partial<SharedOptions>;
  readonly fileNames?: FileNames;
}

export type Resolved<Schema extends z.ZodType> = SharedConfig & z.output<Schema>;

/**
 * Checks what a person gave against the shared keys and the method's own, with defaults filled in. Both spellings of a
 * key are understood (`targetModules`, `target_modules`; `alpha`, `lora_alpha`).
 * @throws PeftError CONFIG_INVALID listing every problem
 */
export function resolveConfig<Schema extends z.ZodType>(
  method: Configured<Schema>,
  input: Readonly<Record<string, unknown>> = {},
): Resolved<Schema> {
  const problems: string[] = [];
  const shared: Record<string, unknown> = {};
  const own: Record<string, unknown> = {};
  const given = new Map<string, string>();
  for (const [key, value] of Object.entries(input)) {
    const name = codeKey(key, method.fileNames);
    const twice = given.get(name);
    if (twice !== undefined) problems.push(`${name} is given twice, as ${twice} and as ${key}`);
    given.set(name, key);
    if (value !== undefined) (sharedKeys.has(name) ? shared : own)[name] = value;
  }
  const known = [...sharedKeys, ...ownKeys(method.config)];
  const first = sharedConfig(method.name).safeParse({ ...method.defaults, ...shared });
  const second = method.config.safeParse(own);
  for (const { error } of [first, second])
    for (const issue of error?.issues ?? []) problems.push(...describe(issue, input, known, given));
  if (!first.success || !second.success || problems.length > 0)
    throw new PeftError('CONFIG_INVALID', `${method.name}: ${problems.join('; ')}.`, {
      details: { method: method.name, problems },
    });
  return { ...first.data, ...(second.data as object) } as Resolved<Schema>;
}

/** The method's own part of a resolved configuration. */
export const ownConfig = (config: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(config).filter(([key]) => !sharedKeys.has(key)));

const ownKeys = (schema: z.ZodType): string[] => ('shape' in schema ? Object.keys(schema.shape as object) : []);

type Issue = z.core.$ZodIssue;

function describe(
  issue: Issue,
  input: Readonly<Record<string, unknown>>,
  known: readonly string[],
  given: ReadonlyMap<string, string>,
): string[] {
  if (issue.code === 'unrecognized_keys' && issue.path.length === 0)
    return issue.keys.map((key) => {
      const near = nearNames(key, known);
      const help = near.length > 0 ? `did you mean ${near.join(' or ')}?` : `known keys are ${known.join(', ')}`;
      return `"${given.get(key) ?? key}" is no key of this method (${help})`;
    });
  const [top, ...rest] = issue.path.map(String);
  if (top === undefined) return [issue.message];
  let value: unknown = input[given.get(top) ?? top];
  for (const part of rest) value = (value as Record<string, unknown> | undefined)?.[part];
  const shown = value === undefined ? '' : ` (given: ${JSON.stringify(value)})`;
  return [`${[top, ...rest].join('.')}: ${lower(issue.message)}${shown}`];
}

const lower = (text: string): string => text.slice(0, 1).toLowerCase() + text.slice(1);
