// The page of a method: its schema, its paper, what it reaches.
import type { Method } from '@peftjs/core';
import { passesOver, percent, type Reached, type Step, withSpread } from './figures.js';
import { optionTable, origin } from './option-table.js';

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
          'Measured as [the table of all methods](README.md) says:',
          '',
          '| data | recipe | trained | accuracy | bytes saved | time of a full step | memory of one |',
          '|---|---|---|---|---|---|---|',
          ...rows,
        ]
      : []),
  ].join('\n')}\n`;
}
