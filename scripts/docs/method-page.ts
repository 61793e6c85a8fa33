// The page of a method: its schema, its paper, what it reaches.
import { type Method, sharedConfig } from '@peftjs/core';
import { asked } from '../../benchmarks/methods/command.js';
import { type Reached, type Step, withSpread } from '../../benchmarks/methods/figures.js';
import { optionTable, origin } from './option-table.js';
import { passesOver, percent } from './words.js';

/** The text of docs/methods/NAME.md. */
export function methodPage(
  method: Method,
  from: { readonly name: string; readonly description: string },
  reached: readonly Reached[],
  steps: readonly Step[],
): string {
  const own = reached.filter(({ recipe }) => recipe.method === method.name);
  const rows = own.map(({ task, recipe, accuracy, trainable, savedBytes }) => {
    const step = steps.find((each) => each.recipe === recipe.name);
    return `| ${passesOver(task)} | ${recipe.name} | ${trainable} | ${withSpread(accuracy)} | ${savedBytes} | ${percent(step?.timeOfFull)} | ${percent(step?.memoryOfFull)} |`;
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
    origin(from, method.paper),
    '',
    `It ${acts.join(' and ')}; targets may be of kind ${method.kinds.join(', ')}. ${adding(method)} ${saved(method)}`,
    '',
    ...optionTable(method.config),
    '',
    `Beside these it takes what all methods share: ${sharedKeys(method).join(', ')}.`,
    ...(rows.length > 0
      ? [
          '',
          'Measured as [the table of all methods](README.md) says:',
          '',
          '| data | recipe | trained | accuracy | bytes saved | time of a full step | memory of one |',
          '|---|---|---|---|---|---|---|',
          ...rows,
          '',
          'What the recipes ask for, beside model, data and the options of that table:',
          '',
          '```sh',
          ...[...new Set(own.map(({ recipe }) => `peft train ${asked(recipe).join(' ')} # ${recipe.name}`))],
          '```',
        ]
      : []),
  ].join('\n')}\n`;
}

function adding({ additive, adds, config }: Method): string {
  if (!additive) return 'Its adapters do not add to others.';
  if (!adds) return 'Its adapters add: `sum`, `scale` and merging are exact.';
  return adds(config.parse({}))
    ? 'Its adapters add, but for those of options that say otherwise: `sum`, `scale` and merging are exact.'
    : 'Its adapters add with options that say so; those of the defaults do not.';
}

const saved = ({ layout }: Method): string =>
  layout === 'PEFTJS'
    ? 'They are saved in a layout of Hugging Face PEFT where one holds them exactly, else (and on request) in `PEFTJS`.'
    : `They are saved in the layout \`${layout}\` of Hugging Face PEFT, or in \`PEFTJS\` where that does not hold them exactly.`;

/** The keys that all methods share and this one has a place for. */
function sharedKeys(method: Method): string[] {
  const schema = sharedConfig(method.name);
  const takes = (key: string, value: unknown) =>
    (method.checkShared?.(schema.parse({ [key]: value })) ?? []).length === 0;
  const branch = method.delta || method.apply || method.rewrite;
  const refused = new Set([
    ...(branch && takes('dropout', 0.1) ? [] : ['dropout']),
    ...(takes('bias', 'all') ? [] : ['bias']),
  ]);
  return Object.keys(schema.shape).flatMap((key) => (refused.has(key) ? [] : [`\`${key}\``]));
}
