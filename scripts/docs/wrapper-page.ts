// The page of a wrapper: a way to train any method.
import type { Wrapper } from '@peftjs/core';
import { optionTable, origin } from './option-table.js';

/** The text of docs/methods/NAME.md. */
export const wrapperPage = (
  { name, paper, config }: Wrapper,
  from: { readonly name: string; readonly description: string },
): string =>
  `${[
    `# ${name}`,
    '',
    origin(from, paper),
    '',
    `It wraps a method: \`${name}(lora({ r: 8 }))\`, on the command line \`peft train --method lora --wrap ${name} --wrap-set KEY=VALUE\`. What is saved is the wrapped method's.`,
    '',
    ...optionTable(config),
  ].join('\n')}\n`;
