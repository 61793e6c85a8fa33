#!/usr/bin/env node
// Runs the command: from source inside a checkout (no build step), from the built files where it is installed.
import { register } from 'node:module';
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';

// A reader that has left (`| head`) ends no run: what is still said goes nowhere.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error) => {
    if (error.code !== 'EPIPE') throw error;
  });

const installed = fileURLToPath(import.meta.url).includes(`${sep}node_modules${sep}`);
if (!installed) {
  const { register: registerTsx } = await import('tsx/esm/api');
  registerTsx();
  // Workspace packages resolve to their source through this condition.
  const hook = `export const resolve = (specifier, context, next) =>
    next(specifier, { ...context, conditions: [...context.conditions, '@peftjs/source'] });`;
  register(`data:text/javascript,${encodeURIComponent(hook)}`);
}
const { main } = await import(installed ? '../dist/index.js' : '../src/index.ts');
process.exitCode = await main(process.argv.slice(2));
