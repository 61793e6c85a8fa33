import { readFile } from 'node:fs/promises';
import { type Command as Commander, Option } from 'commander';
import { parse, YAMLError } from 'yaml';
import type * as z from 'zod';
import { camelCase, kebabCase } from './names.js';
import { UsageError, usageOf } from './usage.js';

interface OptionMeta {
  readonly flags: string;
  readonly description: string;
  /** It runs a program, so no file may set it. */
  readonly typedOnly?: boolean;
}

/** Adds the fields of a schema to a command as options. */
export function addOptions(command: Commander, schema: z.ZodObject): void {
  for (const [key, field] of Object.entries(schema.shape)) {
    const meta = (field as z.ZodType).meta() as OptionMeta | undefined;
    if (!meta) throw new Error(`option ${key} has no flags`);
    const initial = (field as z.ZodType).safeParse(undefined);
    const known = initial.success && ['string', 'number'].includes(typeof initial.data);
    command.addOption(
      new Option(meta.flags, known ? `${meta.description} (default: ${initial.data})` : meta.description),
    );
  }
}

/**
 * The options of a call: the command line before the YAML file before the defaults, checked together.
 * @throws UsageError with everything that is wrong
 */
export async function resolveOptions<S extends z.ZodObject>(
  schema: S,
  given: Record<string, unknown>,
): Promise<z.output<S>> {
  const file = typeof given.config === 'string' ? await readConfig(given.config) : {};
  const typed = Object.keys(file).filter((key) => (schema.shape[key]?.meta() as OptionMeta | undefined)?.typedOnly);
  if (typed.length > 0)
    throw new UsageError(typed.map((key) => `--config: ${kebabCase(key)} runs a program: give it on the command line`));
  const parsed = schema.strict().safeParse({ ...file, ...given });
  if (!parsed.success) throw usageOf(parsed.error, (key) => `--${kebabCase(key)}`);
  return parsed.data as z.output<S>;
}

/** Keys of a YAML file are options in camelCase, snake_case or kebab-case. */
async function readConfig(path: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError([`--config: ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`]);
  }
  try {
    const content: unknown = parse(text) ?? {};
    if (typeof content !== 'object' || Array.isArray(content))
      throw new UsageError([`--config: ${path} is not a mapping of options`]);
    return Object.fromEntries(Object.entries(content as object).map(([key, value]) => [camelCase(key), value]));
  } catch (error) {
    if (error instanceof YAMLError) throw new UsageError([`--config: ${path}: ${error.message}`]);
    throw error;
  }
}
