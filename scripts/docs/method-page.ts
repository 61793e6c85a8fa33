// The page of a method: its schema, its paper, what it reaches.
import type { Method } from '@peftjs/core';
import * as z from 'zod';
import { type Reached, type Step, withSpread } from './figures.js';

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

const percent = (part: number | undefined): string => (part === undefined ? '' : `${Math.round(100 * part)} %`);

/** The text of docs/methods/NAME.md. */
export function methodPage(
  method: Method,
  from: { readonly name: string; readonly description: string },
  reached: readonly Reached[],
  steps: readonly Step[],
): string {
  const { properties = {} } = z.toJSONSchema(method.config, { io: 'input', unrepresentable: 'any' }) as {
    properties?: Record<string, Property>;
  };
  const options = Object.entries(properties).map(
    ([key, property]) =>
      `| \`${key}\` | ${cell(typeOf(property))} | ${cell(shown(property.default))} | ${cell(property.description ?? '')} |`,
  );
  const own = reached.filter(({ recipe }) => recipe.method === method.name);
  const rows = own.map(({ task, recipe, accuracy, trainable, savedBytes }) => {
    const step = steps.find((each) => each.recipe === recipe.name);
    return `| ${task.name}, ${task.epochs} epochs | ${recipe.name} | ${trainable} | ${withSpread(accuracy)} | ${savedBytes} | ${percent(step?.timeOfFull)} | ${percent(step?.memoryOfFull)} |`;
  });
  const acts = [
    ...(method.weight ? ['changes weights in the graph'] : []),
    ...(method.delta || method.apply ? ['adds a branch to the output of its targets'] : []),
    ...(method.rewrite ? ['replaces the output of its targets'] : []),
    ...(method.forward ? ['needs no gradient graph'] : []),
  ];
  return `${[
    `# ${method.name}`,
    '',
    `${from.description} Package [\`${from.name}\`](../../packages/${from.name.split('/')[1]}). Paper: <${method.paper}>.`,
    '',
    `It ${acts.join(' and ')}; targets may be of kind ${method.kinds.join(', ')}. ${
      method.additive ? 'Its adapters add: `sum`, `scale` and merging are exact.' : 'Its adapters do not add to others.'
    } They are saved in the layout \`${method.layout}\`.`,
    '',
    '| option | type | default | |',
    '|---|---|---|---|',
    ...options,
    '',
    'Beside these it takes what all methods share: `targetModules`, `excludeModules`, `layersToTransform`, `layersPattern`, `modulesToSave`, `dropout`, `bias`.',
    ...(rows.length > 0
      ? [
          '',
          'Measured as [the table of all methods](README.md) says:',
          '',
          '| data | recipe | trained | accuracy | bytes saved | time of a full step | memory of one |',
          '|---|---|---|---|---|---|---|',
          ...rows,
        ]
      : []),
  ].join('\n')}\n`;
}
