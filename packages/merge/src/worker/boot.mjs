// Starts the worker from source: Node cannot run a TypeScript worker by itself. Built packages do not use this file.
import { register } from 'node:module';
import { register as registerTsx } from 'tsx/esm/api';

registerTsx();
const hook = `export const resolve = (specifier, context, next) =>
  next(specifier, { ...context, conditions: [...context.conditions, '@peftjs/source'] });`;
register(`data:text/javascript,${encodeURIComponent(hook)}`);
await import('./main.ts');
