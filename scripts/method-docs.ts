// Writes docs/methods/NAME.md for every method of the packages, from its schema, its paper and the newest benchmark.
// `npm run docs` writes them, `npm run docs -- --check` says which are out of date.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Method, Plugin, Wrapper } from '@peftjs/core';
import * as z from 'zod';
import { packages } from './packages.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

interface Property {
  readonly description?: string;
  readonly default?: unknown;
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Property[];
  readonly items?: Property;
}

interface Measured {
  readonly results: readonly {
    readonly method: string;
    readonly recipe: string;
    readonly task: string;
    readonly trainable: number;
    readonly mean: number;
    readonly accuracy: readonly number[];
    readonly savedBytes: number;
    readonly steps?: number;
    readonly epochs?: number;
  }[];
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

/** The newest figures of `peft bench methods`. */
function measured(): Measured | undefined {
  const path = join(root, 'benchmarks', 'results', 'methods.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Measured[]).at(-1) : undefined;
}

/** The options of a schema as a table. */
function optionTable(config: z.ZodType): string[] {
  const { properties = {} } = z.toJSONSchema(config, { io: 'input', unrepresentable: 'any' }) as {
    properties?: Record<string, Property>;
  };
  const rows = Object.entries(properties).map(
    ([key, property]) =>
      `| \`${key}\` | ${cell(typeOf(property))} | ${cell(shown(property.default))} | ${cell(property.description ?? '')} |`,
  );
  return ['| option | type | default | |', '|---|---|---|---|', ...rows];
}

const origin = (packageName: string, description: string, paper: string): string =>
  `${description} Package [\`${packageName}\`](../../packages/${packageName.split('/')[1]}). Paper: <${paper}>.`;

const wrapperPage = ({ name, paper, config }: Wrapper, packageName: string, description: string): string =>
  `${[
    `# ${name}`,
    '',
    origin(packageName, description, paper),
    '',
    `It wraps a method: \`${name}(lora({ r: 8 }))\`, on the command line \`peft train --method lora --wrap ${name} --wrap-set KEY=VALUE\`. What is saved is the wrapped method's.`,
    '',
    ...optionTable(config),
  ].join('\n')}\n`;

function page(method: Method, packageName: string, description: string, figures: Measured | undefined): string {
  const own = figures?.results.filter((row) => row.method === method.name) ?? [];
  const rows = own.map(
    ({ task, recipe, trainable, mean, accuracy, savedBytes, steps, epochs }) =>
      `| ${task}, ${steps === undefined ? `${epochs} epochs` : `${steps} updates`} | ${recipe} | ${trainable} | ${mean.toFixed(4)} (${accuracy.join(', ')}) | ${savedBytes} |`,
  );
  const acts = [
    ...(method.weight ? ['changes weights in the graph'] : []),
    ...(method.delta || method.apply ? ['adds a branch to the output of its targets'] : []),
    ...(method.rewrite ? ['replaces the output of its targets'] : []),
    ...(method.forward ? ['needs no gradient graph'] : []),
  ];
  return `${[
    `# ${method.name}`,
    '',
    origin(packageName, description, method.paper),
    '',
    `It ${acts.join(' and ')}; targets may be of kind ${method.kinds.join(', ')}. ${
      method.additive ? 'Its adapters add: `sum`, `scale` and merging are exact.' : 'Its adapters do not add to others.'
    } They are saved in the layout \`${method.layout}\`.`,
    '',
    ...optionTable(method.config),
    '',
    'Beside these it takes what all methods share: `targetModules`, `excludeModules`, `layersToTransform`, `layersPattern`, `modulesToSave`, `dropout`, `bias`.',
    ...(rows.length > 0
      ? [
          '',
          'Measured with `peft bench methods` (22M encoder, batches of 32, mean accuracy and that of each seed):',
          '',
          '| data | recipe | trained | accuracy | bytes saved |',
          '|---|---|---|---|---|',
          ...rows,
        ]
      : []),
  ].join('\n')}\n`;
}

const check = process.argv.includes('--check');
const folder = join(root, 'docs', 'methods');
mkdirSync(folder, { recursive: true });
const figures = measured();
const stale: string[] = [];
for (const { path, manifest } of packages) {
  const entry = join(path, 'src', 'index.ts');
  if (!existsSync(entry) || !readFileSync(entry, 'utf8').includes('definePlugin')) continue;
  const { default: plugin } = (await import(entry)) as { default?: Plugin };
  const { name, description } = manifest;
  const pages = [
    ...(plugin?.methods ?? []).map(({ method }) => [method.name, page(method, name, description, figures)] as const),
    ...(plugin?.wrappers ?? []).map((wrapper) => [wrapper.name, wrapperPage(wrapper, name, description)] as const),
  ];
  for (const [title, text] of pages) {
    const file = join(folder, `${title}.md`);
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue;
    stale.push(title);
    if (!check) writeFileSync(file, text);
  }
}
if (stale.length > 0) console.log(`${check ? 'Out of date' : 'Written'}: ${stale.join(', ')}`);
if (check && stale.length > 0) {
  console.error('Run npm run docs.');
  process.exitCode = 1;
}
