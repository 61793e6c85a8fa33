// The options of a method as a table, from its schema.
import * as z from 'zod';

interface Property {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Property[];
  readonly items?: Property;
}

/** The type of an option in a few words. */
function typeOf({ type, enum: values, anyOf, items }: Property): string {
  if (values) return values.map((value) => `\`${value}\``).join(', ');
  if (anyOf) return anyOf.map(typeOf).join(' or ');
  return type === 'array' ? `list of ${items ? typeOf(items) : 'values'}` : (type ?? 'value');
}

const shown = (value: unknown): string => (value === undefined ? '' : `\`${JSON.stringify(value)}\``);

/** A pipe would end the cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|');

/** One row an option: name, type, default and description. */
export function optionTable(config: z.ZodType): string[] {
  const { properties = {} } = z.toJSONSchema(config, { io: 'input', unrepresentable: 'any' }) as {
    properties?: Record<string, Property>;
  };
  const rows = Object.entries(properties).map(
    ([key, property]) =>
      `| \`${key}\` | ${cell(typeOf(property))} | ${cell(shown(property.default))} | ${cell(property.description ?? '')} |`,
  );
  return ['| option | type | default | |', '|---|---|---|---|', ...rows];
}

/** What a package is, and the paper of what it brings. */
export const origin = (
  { name, description }: { readonly name: string; readonly description: string },
  paper: string,
): string => `${description} Package [\`${name}\`](../../packages/${name.split('/')[1]}). Paper: <${paper}>.`;
